#!/usr/bin/env python3
"""Joins the list of promises with the tests that ran: which promise is kept, broken, or tested by nothing.

  promises.py LIST LOGBASE OUTPUT BUILD...   after `meson test -C BUILD --logbase LOGBASE` in each BUILD.
        LIST is a Markdown file with a row "| id | promise |" for each promise; the table "id, promise, tests, result"
        goes to the file OUTPUT.
        prints "KEPT BROKEN MISSING UNAVAILABLE", then a line for each promise that is not kept.

A test belongs to the promises whose ids its name begins with: `Suite.C8_text/Local`, `Suite.C1_C12_text`, or, of Meson's
own tests, `C17 chaos`.
  - A promise is broken where one of its cases failed, or ended in the middle.
  - It is missing where no case of it ran to its end in any build: no test has its id, or all were filtered out.
  - It is unavailable where all its cases skipped themselves; the reason is theirs.
  - A test that names an id that is not in the list is missing its promise, and counts so.
"""

import os
import re
import sys
from collections import Counter, defaultdict

sys.dont_write_bytecode = True  # this folder belongs to the sources
from count_tests import results  # noqa: E402

ROW = re.compile(r"^\| *([A-Z][0-9]+) *\| *(.*?) *\|$")
IDS = re.compile(r"(?:[A-Z][0-9]+[_ ])+")
SKIPPED = re.compile(r": Skipped$")
RUN = "[ RUN      ] "


def listed(path):
    """{id: promise}, in the order of the list."""
    with open(path, encoding="utf-8") as file:
        rows = [row.groups() for row in map(ROW.match, file.read().splitlines()) if row]
    twice = [name for name, times in Counter(name for name, _ in rows).items() if times > 1]
    if twice or not rows:
        sys.exit(f"{path}: {'twice in the list: ' + ', '.join(twice) if twice else 'there is no list'}")
    return dict(rows)


def ids_of(name):
    """Of a test, or of a case "Suite.name/parameter"."""
    found = IDS.match(name.split(".", 1)[-1])
    return re.split("[_ ]", found.group())[:-1] if found else []


def skip_reason(output, case):
    """What GTEST_SKIP was given in this case; of a plain test, its last line."""
    lines = output.splitlines()
    if case is None:
        return lines[-1] if lines else ""
    for at, line in enumerate(lines):
        if RUN + case in line:
            for later, text in enumerate(lines[at + 1 :], at + 2):
                if SKIPPED.search(text) and later < len(lines):
                    return lines[later]
                if RUN in text:
                    break
    return ""


def ends(build, logbase):
    """(case, end, reason) of all that ran: "passed", "failed" or "skipped"."""
    for _, name, record, cases, broken_off in results(build, logbase):
        output = record.get("stdout") or ""
        if cases is None or ids_of(name):  # a test that has cases may be one of a promise as a whole
            end = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(record["result"], "failed")
            yield name, end, skip_reason(output, None) if end == "skipped" else ""
        if broken_off:
            yield broken_off, "failed", ""
        for case, end in (cases or {}).items():
            yield case, end, skip_reason(output, case) if end == "skipped" else ""


class Evidence:
    """What the builds tell of one promise."""

    def __init__(self):
        self.counts = defaultdict(Counter)  # of ends, by build
        self.cases, self.failed, self.reason = set(), [], ""

    def add(self, build, case, end, reason):
        self.counts[build][end] += 1
        self.cases.add(case)
        if end == "failed":
            self.failed.append(f"{case} ({build})")
        self.reason = reason or self.reason

    def tests(self):
        """Their names; a parameterised one once."""
        times = Counter(case.split(".", 1)[-1].split("/")[0] for case in self.cases)
        return ", ".join(name + (f" ({n} cases)" if n > 1 else "") for name, n in sorted(times.items()))

    def judge(self):
        """(kind, result)"""
        total = sum(self.counts.values(), Counter())
        if self.failed:
            return "broken", "BROKEN: " + ", ".join(self.failed)
        if total["passed"]:
            return "kept", "passed: " + ", ".join(
                f"{build} {count['passed']}" + (f" ({count['skipped']} skipped)" if count["skipped"] else "")
                for build, count in self.counts.items())
        if total["skipped"]:
            return "unavailable", "not to be had here: " + (self.reason or "no reason given")
        return "missing", "MISSING: no test ran"


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    path, logbase, output = sys.argv[1:4]
    promises = listed(path)
    evidence = {promise: Evidence() for promise in promises}
    unknown = {}
    for build in sys.argv[4:]:
        for case, end, reason in ends(build, logbase):
            for promise in ids_of(case):
                if promise in evidence:
                    evidence[promise].add(os.path.basename(os.path.normpath(build)), case, end, reason)
                else:
                    unknown[promise] = case
    totals, told = Counter(), []
    with open(output, "w", encoding="utf-8") as table:
        table.write("| id | promise | tests | result |\n|---|---|---|---|\n")
        for promise, text in promises.items():
            kind, result = evidence[promise].judge()
            totals[kind] += 1
            if kind != "kept":
                told.append(f"{promise}: {result}")
            cells = (promise, text, evidence[promise].tests(), result.replace("|", "\\|"))
            table.write("| " + " | ".join(cells) + " |\n")
    for promise, case in sorted(unknown.items()):
        totals["missing"] += 1
        told.append(f"{promise}: MISSING in the list: {case} is named after it")
    print(*(totals[kind] for kind in ("kept", "broken", "missing", "unavailable")))
    for line in told:
        print(line)


if __name__ == "__main__":
    main()
