#!/usr/bin/env bash
# The reference of the public headers builds without a warning, and says what the headers say. usage: doxygen_test.sh FOLDER
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
out=$1
rm -rf -- "$out"
mkdir -p -- "$out"
(cat tools/doxygen/Doxyfile; printf 'OUTPUT_DIRECTORY = %s\n' "$out") | doxygen -

# says PAGE TEXT: in a page of the reference, not in a listing of the sources.
says() {
  grep -qF -- "$2" "$out/html/$1" || { printf '%s does not say: %s\n' "$1" "$2"; exit 1; }
}
says structyoke_1_1ExecutorOptions.html 'idle time after which a worker leaves'
says structyoke_1_1RestartBudget.html 'So many unexpected deaths within so much time, and no task finished between them'
says classyoke_1_1Future.html 'Calls fn(Future'
says parallel__for_8hpp.html 'the turns of a loop, in worker processes'
