#!/usr/bin/env bash
# tools/count_tests.py turns what Meson and GoogleTest leave behind into numbers. Each promise below is one fake result.
set -uo pipefail

counter=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/tools/count_tests.py
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

exit "$broken"
