#!/usr/bin/env bash
# The tests whose outcome could depend on who comes first, many times in a row; stops at the first failure and shows it.
#
# usage: races_in_a_row.sh BUILD [ROUNDS]      BUILD: a Meson build folder, compiled; ROUNDS: 1000 if not given
# While the file BUILD/pause is there, no further round begins.
set -euo pipefail

if (($# < 1 || $# > 2)) || [[ ! -x $1/tests/crash_test || ! ${2:-1000} =~ ^[1-9][0-9]*$ ]]; then
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
fi
build=$1
rounds=${2:-1000}
races='crash            *C3_other*:*C3_a_worker*:*C5_*:*C6_*:*C11_retries*
kill_under_load  *
lifecycle        *D14_many*:*D14_from*
retirement       *D11_no_task*:*D12_shutdown*
reusable         *E8_*:*E9_while*:*A6_callbacks*
shutdown         *D3_kill_workers_ends*:*D4_from_many*:*D4_while*:*D5_*
task_timeout     *A4_*ends_just_then*:*C8_*goes_on
future           *A4_*pending/Local:*A5_all*/Local
callback         *A6_in_order_when*/Local:*A6_*do_the_same/Local:*A6_a_callback_may_drop*/Local
wait             *A8_several*/Local:*A8_first*waiting/Local:*A9_in_the_order*/Local'

outputs=$(mktemp -d)
trap 'rm -rf -- "$outputs"' EXIT
run_one() { # OUTPUTS BUILD PROGRAM FILTER: 255 makes xargs begin nothing further
  "$2/tests/$3_test" "--gtest_filter=$4" >"$1/$3" 2>&1 && grep -q '\[  PASSED  \] [1-9]' "$1/$3" || exit 255
  rm -- "$1/$3"
}
export -f run_one

for ((round = 1; round <= rounds; ++round)); do
  while [[ -e $build/pause ]]; do sleep 1; done
  if ! xargs -P $((2 * $(nproc))) -L 1 bash -c 'run_one "$@"' - "$outputs" "$build" <<<"$races"; then
    printf 'round %d of %d, after %d s:\n' "$round" "$rounds" "$SECONDS"
    cat -- "$outputs"/*
    exit 1
  fi
  ((round % 50)) || printf '%d rounds, %d s\n' "$round" "$SECONDS"
done
printf '%d rounds in %d s, no failure\n' "$rounds" "$SECONDS"
