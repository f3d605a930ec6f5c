#!/usr/bin/env bash
# tools/count_tests.py turns what Meson and GoogleTest leave behind into numbers, and tools/promises.py into what they say of
# the promises. Each line below is one fake result.
set -uo pipefail

counter=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/tools/count_tests.py
promises=${counter%/*}/promises.py
list=${counter%/tools/*}/tests/README.md
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
broken=0

# fake NAME RESULT RETURNCODE [OUTPUT]: one test of a fresh build folder, with this line in Meson's log (none if RESULT is '-').
fake() {
  local dir=$scratch/build
  mkdir -p "$dir/meson-info" "$dir/meson-logs"
  printf 'yoke:unit / %s\n' "$1" >"$scratch/plan"
  printf '[{"name": "%s", "workdir": null, "protocol": "%s", "suite": ["yoke:unit"]}]' "$1" "$protocol" \
    >"$dir/meson-info/intro-tests.json"
  : >"$dir/meson-logs/check.json"
  [[ $2 == - ]] || printf '{"name": "yoke:unit / %s", "stdout": "%s", "result": "%s", "starttime": %s, "returncode": %s}\n' \
    "$1" "${4:-}" "$2" "$(date +%s.%N)" "$3" >"$dir/meson-logs/check.json"
}

# expect PROMISE COUNTS [FAILURE]
expect() {
  local wanted=$2${3:+$'\n'$3} got
  got=$("$counter" count "$scratch/build" check "$scratch/plan" 2>&1)
  if [[ $got == "$wanted" ]]; then
    printf 'ok: %s\n' "$1"
  else
    printf 'NOT OK: %s\n  wanted: %s\n  got:    %s\n' "$1" "${wanted@Q}" "${got@Q}"
    broken=1
  fi
  rm -rf -- "$scratch/build"
}

# expect_promise WHAT COUNTS [LINE]: the same of a list of two promises, A1 and A2.
expect_promise() {
  local wanted=$2${3:+$'\n'$3} got
  printf '| id | promise |\n|---|---|\n| A1 | one |\n| A2 | two |\n' >"$scratch/list.md"
  got=$("$promises" "$scratch/list.md" check "$scratch/table.md" "$scratch/build" 2>&1)
  if [[ $got == "$wanted" && $(grep -c '^| A' "$scratch/table.md") == 2 ]]; then
    printf 'ok: %s\n' "$1"
  else
    printf 'NOT OK: %s\n  wanted: %s\n  got:    %s\n' "$1" "${wanted@Q}" "${got@Q}"
    broken=1
  fi
  rm -rf -- "$scratch/build"
}

begin='[==========] Running 3 tests from 1 test suite.\n'
a='[ RUN      ] S.a\n[       OK ] S.a (0 ms)\n'
b_failed='[ RUN      ] S.b\n[  FAILED  ] S.b (0 ms)\n'
b_began='[ RUN      ] S.b\n'
c_skipped='[ RUN      ] S.c\n[  SKIPPED ] S.c (0 ms)\n'
end='[==========] 3 tests from 1 test suite ran. (0 ms total)\n'
protocol=exitcode

fake t OK 0
expect 'a plain test counts as one' '1 0 0'
fake t FAIL 1
expect 'a plain test that fails counts as one' '0 1 0' 't: exit status 1'
fake t SKIP 77
expect 'a plain test may skip itself' '0 0 1'
fake t EXPECTEDFAIL 1
expect 'a failure that Meson expects is a success' '1 0 0'
fake t UNEXPECTEDPASS 0
expect 'a success that Meson does not expect is a failure' '0 1 0' 't: unexpectedpass'
fake t TIMEOUT -15
expect 'a hang is a failure' '0 1 0' 't: did not end in time'
fake t - 0
expect 'a test without a result is a failure' '0 1 0' 'yoke:unit / t: no result, Meson ended before it did'

fake t FAIL 1 "$begin$a$b_failed$c_skipped${end}[  FAILED  ] 1 test, listed below:\\n[  FAILED  ] S.b\\n"
expect 'the cases of a gtest are counted, each once' '1 1 1' 't: S.b'
fake t OK 0 "$begin$a${b_failed//  FAILED  /       OK }${c_skipped//  SKIPPED /       OK }$end"
expect 'a gtest without failures has none' '3 0 0'
fake t OK 0 "${begin}a worker's words[ RUN      ] S.a\\nmore words[       OK ] S.a (1 ms)\\n${b_began}[       OK ] S.b (1 ms)\\n$c_skipped$end"
expect 'what a worker prints on the same line does not hide a case' '2 0 1'
fake t FAIL -11 "$begin$a$b_began"
expect 'a crash fails the case that was running' '1 1 0' 't: S.b: killed by signal 11'
fake t FAIL -9 "$begin$b_failed${a%%\\n*}\\n"
expect 'a crash after a failed case is a second failure' '0 2 0' $'t: S.b\nt: S.a: killed by signal 9'
fake t TIMEOUT -15 "$begin$a$b_began"
expect 'a hang fails the case that was running' '1 1 0' 't: S.b: did not end in time'
fake t OK 0 "$begin$a$b_began"
expect 'an exit with status 0 in the middle of a case is a failure' '1 1 0' 't: S.b: ended in the middle'
fake t OK 0 "$begin$a"
expect 'an exit with status 0 before the last case is a failure' '1 1 0' 't: ended in the middle'
fake t FAIL 23 "${begin/3/1}$a${end/3/1}"
expect 'a sanitizer report after the last case is a failure' '1 1 0' 't: exit status 23'

protocol=gtest
xml='<testsuites><testsuite name="S">
  <testcase name="a" classname="S" status="run" result="completed"/>
  <testcase name="b" classname="S" status="run" result="completed"><failure message="m">m</failure></testcase>
  <testcase name="c" classname="S" status="run" result="skipped"><skipped message="m"/></testcase>
  <testcase name="DISABLED_d" classname="S" status="notrun" result="suppressed"/>
</testsuite></testsuites>'
fake t FAIL 1
printf '%s\n' "$xml" >"$scratch/build/t.xml"
expect 'the XML of the gtest protocol is counted, disabled cases are not' '1 1 1' 't: S.b'
fake t FAIL -11 "$begin$a$b_began"
printf '%s\n' "$xml" >"$scratch/build/t.xml"
touch -d '1 hour ago' "$scratch/build/t.xml"
expect 'the XML of an earlier run is not counted' '1 1 0' 't: S.b: killed by signal 11'
fake t FAIL 1 "$begin$a$b_failed$c_skipped$end"
printf '%s\n' "${xml%</testsuites>}" >"$scratch/build/t.xml"
expect 'broken XML is not counted' '1 1 1' 't: S.b'

# suite NAME END: what a gtest of the one case prints
suite() {
  printf '[==========] Running 1 test from 1 test suite.\\n[ RUN      ] %s\\n%s[ %8s ] %s (0 ms)\\n' "$1" "${3:-}" "$2" "$1"
  printf '[==========] 1 test from 1 test suite ran. (0 ms total)\\n'
}
protocol=exitcode

fake t OK 0 "$(suite Pools/S.A1_A2_text/Local '      OK')"
expect_promise 'a case with two ids speaks for both' '2 0 0 0'
fake 'A1 A2 soak' OK 0
expect_promise "so does a test of Meson's own" '2 0 0 0'
fake 'A1 soak' TIMEOUT -15
expect_promise 'which breaks its promise when it fails' '0 1 1 0' $'A1: BROKEN: A1 soak (build)\nA2: MISSING: no test ran'
fake t FAIL 1 "$(suite S.A1_text ' FAILED ')"
expect_promise 'as a case does' '0 1 1 0' $'A1: BROKEN: S.A1_text (build)\nA2: MISSING: no test ran'
fake t FAIL -11 "$begin${a//S.a/S.A1_a}${b_began//S.b/S.A1_b}"
expect_promise 'and one that crashed' '0 1 1 0' $'A1: BROKEN: S.A1_b (build)\nA2: MISSING: no test ran'
fake t OK 0 "$(suite S.A1_text ' SKIPPED' 'x.cpp:7: Skipped\nno such kernel\n\n')"
expect_promise 'a case that skips itself says why' '0 0 1 1' \
  $'A1: not to be had here: no such kernel\nA2: MISSING: no test ran'
fake t OK 0 "$(suite S.A15_text '      OK')"
expect_promise 'a test of no promise is told' '0 0 3 0' \
  $'A1: MISSING: no test ran\nA2: MISSING: no test ran\nA15: MISSING in the list: S.A15_text is named after it'
for file in "${list%/*}"/*_test.cpp; do
  while read -r id; do
    grep -q "^| $id |" "$list" || {
      printf 'NOT OK: %s has tests of %s, which the list does not know\n' "${file##*/}" "$id"
      broken=1
    }
  done < <(grep -oP '^TEST\w*\(\w+, \K[A-G][0-9]+(?=_)' "$file" | sort -u)
done

exit "$broken"
