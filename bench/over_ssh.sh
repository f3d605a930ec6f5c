#!/usr/bin/env bash
# usage: bench/over_ssh.sh BUILD [ARGUMENT...]: the rows R-* over ssh, to a network namespace of this machine with an sshd of its
# own (tests/remote/cluster: root, openssh-server, iproute2). ARGUMENT: those of yoke-bench, such as --json FILE.
set -euo pipefail
(($# > 0)) || { sed -n 's/^# //p' "$0" >&2; exit 2; }
program=$(readlink -f "$1")/bench/yoke-bench
cluster=$(dirname "$(readlink -f "$0")")/../tests/remote/cluster
dir=$(mktemp -d)
trap '"$cluster" --dir "$dir" down' EXIT
trap 'exit 1' INT TERM HUP
"$cluster" --dir "$dir" --nodes 1 up ssh
"$cluster" --dir "$dir" on ctl "$program" --host "ssh -F $dir/ssh_config -T n1" --only R-rtt,R-tasks,R-bytes,R-array,R-start "${@:2}"
