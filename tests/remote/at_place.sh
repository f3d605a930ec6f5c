#!/usr/bin/env bash
# usage: at_place.sh PLACE PROGRAM: the tests of remote pools at one place, on real servers that it starts and stops.
# PLACE: Ssh, Slurm or Podman. Ends with 77, which is skipped, where this machine cannot have them.
set -euo pipefail
place=$1 program=$2
cluster=$(dirname "$(readlink -f "$0")")/cluster
dir=$(mktemp -d)
trap '"$cluster" --dir "$dir" down' EXIT
trap 'exit 1' INT TERM HUP
part=${place,,}
"$cluster" --dir "$dir" up "$part" || { status=$?; echo "$place: skipped"; exit "$status"; }
YOKE_TEST_CLUSTER=$dir SLURM_CONF=$dir/slurm/slurm.conf \
  "$cluster" --dir "$dir" on ctl "$program" --gtest_filter="*/$place"
