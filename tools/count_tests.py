#!/usr/bin/env python3
"""Counts what `meson test` ran, by test case. Python because Meson brings it; nothing but the standard library.

  count_tests.py count BUILD LOGBASE PLAN   after `meson test -C BUILD --logbase LOGBASE`; PLAN holds what
                                            `meson test --list` printed for the same selection.
        prints "PASSED FAILED SKIPPED", then a line for each failure.
  count_tests.py targets BUILD SUITE        prints the ninja targets that the tests of SUITE ("project:suite") need.

A test of gtest counts as its cases, any other test as one. The cases are read from the XML of Meson's gtest protocol or
else from the output. (Register tests with Meson's plain protocol: Meson 1.0 breaks off the whole run where the XML of
its gtest protocol is not well-formed, and one raw byte in a failure's message is enough for that.)
  - A test that ended before gtest said so (crash, hang, _exit, whatever the status) counts as the cases that had ended
    and one failure, named after the case that was running.
  - A test that failed counts as at least one failure, even if every case passed (sanitizer report at exit, leak,
    crash in a destructor).
  - A test in PLAN without a result (Meson itself was stopped or broke) is a failure.
  - Disabled cases are not counted.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

CLOCK_SLACK = 0.1  # seconds between the kernel's coarse clock, which stamps files, and the one that stamps test starts

# "[       OK ] Suite.Case (3 ms)"; a worker may have printed before it on the same line
CASE = re.compile(r"\[( RUN      |       OK |  FAILED  |  SKIPPED )\] ([\w/]+\.[\w/]+)(.*)")
CASE_ENDED = re.compile(r"\(\d+ ms\)\s*$")
ALL_BEGAN = "[==========] Running "
ALL_ENDED = re.compile(r"\[==========\] (\d+) tests? from \d+ test \w+ ran\.")


def introspected(build):
    with open(os.path.join(build, "meson-info", "intro-tests.json"), encoding="utf-8") as file:
        return json.load(file)


def xml_cases(path, not_before):
    """{case: "passed" | "failed" | "skipped"} of this run's XML, or None."""
    try:
        if os.stat(path).st_mtime < not_before - CLOCK_SLACK:
            return None
        tree = ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return None
    cases = {}
    for case in tree.iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            cases[name] = "failed"
        elif case.find("skipped") is not None or case.get("result") == "skipped":
            cases[name] = "skipped"
        elif case.get("status") != "notrun":
            cases[name] = "passed"
    return cases


def output_cases(output):
    """The same from what a gtest printed, and what is wrong with its end: None, or the case that was running, or ""."""
    cases = {}
    running, total = "", None
    for line in output.splitlines():
        ended = ALL_ENDED.search(line)
        if ended:
            total = int(ended.group(1))
        found = CASE.search(line)
        if not found:
            continue
        mark, name, rest = found.group(1).strip(), found.group(2), found.group(3)
        if mark == "RUN":
            running = name
        elif CASE_ENDED.search(rest) and name == running:  # the summary names failed cases again, without a time
            cases[name] = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}[mark]
            running = ""
    return cases, running if total is None or total != len(cases) else None


def describe(result, returncode):
    if result == "TIMEOUT":
        return "did not end in time"
    if returncode < 0:
        return f"killed by signal {-returncode}"
    if returncode:
        return f"exit status {returncode}"
    return result.lower()


def test_cases(name, record, build, gtest, workdir):
    """({case: end}, what broke it off) of one test; the cases are None where it has none, and see output_cases."""
    output = record.get("stdout") or ""
    cases = None
    if gtest:
        cases = xml_cases(os.path.join(build, workdir or "", f"{name}.xml"), record.get("starttime") or 0)
    if cases is None and (gtest or ALL_BEGAN in output):
        return output_cases(output)
    return cases, None


def count_test(name, record, cases, broken_off):
    """(Counter, [failure lines]) of one test."""
    result, returncode = record["result"], record.get("returncode") or 0
    if result == "EXPECTEDFAIL":
        return Counter(passed=1), []
    counts = Counter((cases or {}).values())
    failures = [f"{name}: {case}" for case, end in (cases or {}).items() if end == "failed"]
    ok = result == "OK" or result == "SKIP"
    if broken_off is not None and (ok or broken_off or not failures):
        counts["failed"] += 1
        end = "ended in the middle" if ok else describe(result, returncode)
        failures.append(f"{name}: {broken_off + ': ' if broken_off else ''}{end}")
    elif ok and cases is None:
        counts["passed" if result == "OK" else "skipped"] += 1
    elif not ok and not failures:
        counts["failed"] += 1
        failures.append(f"{name}: {describe(result, returncode)}")
    return counts, failures


def results(build, logbase):
    """Of each test that ran: its name with its suites, its own name, Meson's record, its cases, what broke them off."""
    protocols = {}
    for test in introspected(build):
        protocols[test["name"]] = (test.get("protocol") == "gtest", test.get("workdir"))
    try:
        with open(os.path.join(build, "meson-logs", f"{logbase}.json"), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off in the middle: its test is found missing
        name = record["name"].split(" / ")[-1]
        yield record["name"], name, record, *test_cases(name, record, build, *protocols.get(name, (False, None)))


def count(build, logbase, plan):
    with open(plan, encoding="utf-8") as file:
        planned = Counter(line.strip() for line in file if line.strip())
    totals, failures = Counter(), []
    for full_name, name, record, cases, broken_off in results(build, logbase):
        planned[full_name] -= 1
        counts, failed = count_test(name, record, cases, broken_off)
        totals += counts
        failures += failed
    for name, left in planned.items():
        if left > 0:
            totals["failed"] += left
            failures.append(f"{name}: no result, Meson ended before it did")
    print(totals["passed"], totals["failed"], totals["skipped"])
    for failure in failures:
        print(failure)


def targets(build, suite):
    with open(os.path.join(build, "meson-info", "intro-targets.json"), encoding="utf-8") as file:
        files = {target["id"]: target["filename"] for target in json.load(file)}
    wanted = set()
    for test in introspected(build):
        if suite in test["suite"]:
            for dependency in test.get("depends", []):
                wanted.update(os.path.relpath(name, build) for name in files.get(dependency, []))
    for name in sorted(wanted):
        print(name)


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "count":
        count(*sys.argv[2:])
    elif len(sys.argv) == 4 and sys.argv[1] == "targets":
        targets(*sys.argv[2:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
