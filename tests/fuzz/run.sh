#!/usr/bin/env bash
# usage: run.sh FUZZER CORPUS: runs it for a short while, or for YOKE_FUZZ_SECONDS, from the inputs of the folder CORPUS.
# What it finds beside a bug is thrown away; the input that shows a bug stays in the current folder.
set -euo pipefail
new=$(mktemp -d)
trap 'rm -rf -- "$new"' EXIT
# No allocation far beyond a message's size, no step that hangs.
"$1" -max_total_time="${YOKE_FUZZ_SECONDS:-15}" -timeout=60 -malloc_limit_mb=64 -max_len=4096 -len_control=0 -artifact_prefix="$PWD/" \
  "$new" "$2"
