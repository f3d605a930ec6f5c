#!/usr/bin/env bash
# A test program under Valgrind's memcheck, its workers too: the program must succeed, and no process have an error or a
# leak. What the processes wrote is printed where they had.
#
# usage: memcheck_test.sh PROGRAM [ARGUMENT...]
set -euo pipefail

logs=$(mktemp -d)
trap 'rm -rf -- "$logs"' EXIT

status=0
valgrind -q --trace-children=yes --child-silent-after-fork=yes --leak-check=full --show-leak-kinds=definite \
  --errors-for-leak-kinds=definite --log-file="$logs/%p" "$@" || status=$?

shopt -s nullglob
written=("$logs"/*)
if ((${#written[@]} == 0)); then
  echo "memcheck_test.sh: valgrind wrote no log" >&2
  exit 1
fi
# Lines of errors begin with ==PID==, those about unknown system calls with --PID--.
for log in "${written[@]}"; do
  if grep -q '^==' "$log"; then
    printf '\nmemcheck, process %s:\n' "${log##*/}" >&2
    grep -v '^--' "$log" >&2 || true
    ((status)) || status=1
  fi
done
exit "$status"
