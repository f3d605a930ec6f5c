# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the names that the callers set and use
#
# What tools/quickstart and tools/check share. Sourced by bash, never run. The caller sets `tool` to its own name first.
#
# Every step says one line on stdout; what its commands print goes to $log, whose last lines are shown when a step fails.
# Nothing reads stdin. Every failure ends in `die` with one sentence on stderr and exit status 1 (2 for a wrong option).

set -euo pipefail
unset CDPATH
export LC_ALL=C.UTF-8
exec </dev/null

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log=/dev/null

runtime_packages=(
  g++ meson ninja-build 'pkg-config|pkgconf' ccache
  libboost-dev libmsgpack-cxx-dev libfmt-dev libcli11-dev nlohmann-json3-dev
)
# llvm gives the symbolizer: without it a sanitizer's report has addresses and no lines.
test_packages=(
  clang lld libclang-rt-dev llvm libgtest-dev libgmock-dev libbenchmark-dev valgrind cmake doxygen
  libasio-dev libeigen3-dev libopencv-core-dev libprotobuf-dev clang-format-19
)

# The servers of tests/remote/cluster, for root alone: nobody else can have its networks.
server_packages=(
  openssh-server openssh-client slurmctld slurmd slurm-client munge podman runc busybox-static iproute2
)

lock_wait=300 # seconds to wait for another apt or dpkg
lock_held='could not get lock|unable to lock|unable to acquire the dpkg frontend lock'

die() {
  printf '%s: %s\n' "$tool" "$*" >&2
  exit 1
}

usage_error() {
  printf '%s: %s (see --help)\n' "$tool" "$*" >&2
  exit 2
}

show_log() {
  [[ -s $log ]] || return 0
  printf -- '--- last lines of %s\n' "$log" >&2
  tail -n 30 "$log" >&2
  printf -- '---\n' >&2
}

# Stops with the sentence, after the end of the log.
die_with_log() {
  show_log
  die "$@"
}

# The command that is running gets Ctrl-C too; without this, the next step would follow it.
trap 'printf "\n"; die "interrupted"' INT TERM HUP

# step TEXT COMMAND...: one line with TEXT and how long COMMAND took; its output goes to the log. Returns COMMAND's status.
step() {
  local text=$1 begin=$SECONDS status=0
  shift
  printf '%s ... ' "$text"
  printf '\n=== %s: %s\n' "$(date '+%F %T')" "$text" >>"$log"
  logged "$@" || status=$?
  if ((status == 0)); then
    printf '%d s\n' $((SECONDS - begin))
  else
    printf 'failed after %d s\n' $((SECONDS - begin))
  fi
  return "$status"
}

# The lock of the build folder (descriptor 9) stays with this shell: a process left over by a test must not keep it.
logged() {
  printf '+ %s\n' "${*@Q}" >>"$log"
  "$@" >>"$log" 2>&1 9>&-
}

# --- options --------------------------------------------------------------------------------------------------------

# need_value OPTION COUNT: COUNT is what is left of the command line, OPTION included.
need_value() {
  (($2 >= 2)) || usage_error "$1 needs a value"
}

valid_jobs() {
  [[ $1 =~ ^[1-9][0-9]{0,3}$ ]] || usage_error "--jobs needs a number from 1 to 9999, not '$1'"
}

# As many jobs as there are processors, but no more than memory lasts for (a compiler takes about 1 GB here).
default_jobs() {
  local processors memory
  processors=$(nproc)
  memory=$(awk '$1 == "MemAvailable:" { print int($2 / 1000000) }' /proc/meminfo)
  ((memory >= 1)) || memory=1
  printf '%d\n' $((processors < memory ? processors : memory))
}

# --- build folder ---------------------------------------------------------------------------------------------------

# open_build_folder DIR: creates it, locks it, and starts the log in it. Sets `build` to the absolute path and `log`.
# A folder that holds other files is left alone.
open_build_folder() {
  local dir=$1
  [[ -n $dir ]] || usage_error '--build needs a folder'
  [[ $dir == /* ]] || dir=$PWD/$dir
  mkdir -p -- "$dir" 2>/dev/null || die "cannot create the build folder $dir; choose another with --build DIR"
  build=$(cd -P -- "$dir" && pwd) || die "cannot enter the build folder $dir; choose another with --build DIR"
  [[ $build != "$root" ]] || usage_error "--build needs a folder of its own, not the source folder"
  if [[ ! -e $build/.yoke-build && -n $(ls -A -- "$build") ]]; then
    die "$build is not empty and was not made by tools/$tool; choose another with --build DIR"
  fi
  if [[ -s $build/.yoke-build && $(<"$build/.yoke-build") != "$tool" ]]; then
    die "$build is a build folder of tools/$(<"$build/.yoke-build"); choose another with --build DIR"
  fi
  printf '%s\n' "$tool" 2>/dev/null >"$build/.yoke-build" || die "cannot write to $build; choose another with --build DIR"
  exec 9>"$build/.yoke-lock"
  flock -n 9 || die "another run of tools/$tool is using $build; wait for it, or choose another with --build DIR"
  log=$build/$tool.log
  printf 'tools/%s of %s in %s\n' "$tool" "$(date '+%F %T')" "$root" >"$log" || die "cannot write $log"
}

# configure DIR TEXT OPTION...: `meson setup` with the compiler in $CXX, unless DIR is set up in the very same way.
# What another compiler, Meson, source folder or set of options has left there is removed first.
configure() {
  local dir=$1 text=$2 stamp
  shift 2
  stamp=$(
    printf '%s\n' "source $root" "build $dir" "meson $(meson --version)" "CXX ${CXX}" "$(compiler_version)"
    printf 'option %s\n' "$@"
    printf 'environment %s\n' "CXXFLAGS=${CXXFLAGS:-}" "CPPFLAGS=${CPPFLAGS:-}" "LDFLAGS=${LDFLAGS:-}" \
      "PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-}"
  )
  if [[ -e $dir/build.ninja && -e $dir/.yoke-setup && $(<"$dir/.yoke-setup") == "$stamp" ]]; then
    printf '%s ... as before\n' "$text"
    return 0
  fi
  mkdir -p -- "$dir"
  find "$dir" -mindepth 1 -maxdepth 1 ! -name '.yoke-build' ! -name '.yoke-lock' ! -name "$tool.log" -exec rm -rf -- {} +
  step "$text" meson setup "$@" "$dir" "$root" || return 1
  printf '%s\n' "$stamp" >"$dir/.yoke-setup"
}

compiler_version() {
  ${CXX##* } --version | head -n 1
}

# compile DIR TEXT [TARGET...]
compile() {
  local dir=$1 text=$2
  shift 2
  step "$text" ninja -C "$dir" -j "$jobs" -k 0 "$@"
}

# use_compiler NAME: sets CXX, through ccache where there is one that has a folder to write to.
use_compiler() {
  local cache
  command -v "$1" >/dev/null || die "the compiler $1 is not in PATH"
  export CXX=$1
  command -v ccache >/dev/null || return 0
  cache=$(ccache --get-config cache_dir 2>/dev/null) || return 0
  mkdir -p -- "$cache" 2>/dev/null && [[ -w $cache ]] && export CXX="ccache $1"
  return 0
}

# --- packages -------------------------------------------------------------------------------------------------------

require_supported_system() {
  local ID='' ID_LIKE='' VERSION_ID='' PRETTY_NAME=''
  # shellcheck source=/dev/null
  [[ -r /etc/os-release ]] && . /etc/os-release
  local advice="install a C++20 compiler, meson, ninja, Boost, msgpack-cxx, fmt, CLI11 and nlohmann-json, then run: meson setup build"
  [[ $(uname -s) == Linux ]] || die "yoke runs on Linux, and this is $(uname -s)"
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    die "this script knows Debian 12 and newer, and this is ${PRETTY_NAME:-an unknown system} without apt; $advice"
  fi
  [[ $ID != debian || -z $VERSION_ID || ${VERSION_ID%%.*} -ge 12 ]] ||
    die "this script needs Debian 12 or newer, and this is ${PRETTY_NAME:-Debian $VERSION_ID}; $advice"
  [[ " $ID $ID_LIKE " == *' debian '* ]] ||
    die "this script knows Debian 12 and newer, and this is ${PRETTY_NAME:-an unknown system}; $advice"
}

# missing_packages NAME...: one per line. NAME may be `a|b`: either will do, and the first is installed.
missing_packages() {
  local wanted name installed found
  local -a names
  installed=$(dpkg-query -W -f '${db:Status-Status}/${Package}\n' -- "${@//|*/}" "${@//*|/}" 2>/dev/null || true)
  installed=" $(sed -n 's,^installed/,,p' <<<"$installed" | tr '\n' ' ') "
  for wanted in "$@"; do
    found=no
    IFS='|' read -r -a names <<<"$wanted"
    for name in "${names[@]}"; do
      [[ $installed != *" $name "* ]] || found=yes
    done
    [[ $found == yes ]] || printf '%s\n' "${names[0]}"
  done
}

# Waits, for $lock_wait seconds at most, while another program holds one of apt's locks.
apt() {
  local begin=$SECONDS left mark status
  while :; do
    left=$((lock_wait - SECONDS + begin))
    ((left > 0)) || left=0
    mark=$(wc -l <"$log")
    status=0
    logged "${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1 \
      "${bounded[@]}" apt-get -q -y -o DPkg::Lock::Timeout="$left" -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
      -o Acquire::https::Timeout=20 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
      -o Dpkg::Options::=--force-confold "$@" || status=$?
    ((status == 0)) && return 0
    apt_said "$lock_held" "$mark" || return "$status"
    ((left > 0)) || return "$status"
    sleep 3
  done
}

# apt_said PATTERN [LINE]: whether the log holds PATTERN after LINE.
apt_said() {
  tail -n "+$((${2:-0} + 1))" "$log" | grep -qiE "$1"
}

apt_failed() {
  local mark=$1
  shift
  printf 'failed\n'
  if apt_said "$lock_held" "$mark"; then
    die_with_log "another program has held apt's lock for $lock_wait seconds; try again when it has ended"
  elif apt_said 'could not resolve|temporary failure|could not connect|unable to connect|connection (failed|timed out)|network is unreachable|cannot initiate the connection' "$mark"; then
    die_with_log "cannot reach the package server that apt is set up with (no network?); missing: $*"
  elif apt_said 'unable to locate package|has no installation candidate' "$mark"; then
    die_with_log "apt does not know all of these packages (see the log): $*"
  elif apt_said 'no space left|enough free space' "$mark"; then
    die_with_log "there is not enough free disk space to install: $*"
  fi
  die_with_log "apt could not install: $*"
}

# without_services COMMAND...: what it installs is not started, by the rule of Debian's policy-rc.d.
without_services() {
  local policy=/usr/sbin/policy-rc.d status=0
  [[ ! -e $policy ]] || policy=
  if [[ -n $policy ]]; then
    # shellcheck disable=SC2064 # the name as it is now
    trap "rm -f -- '$policy'" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  "$@" || status=$?
  if [[ -n $policy ]]; then
    rm -f -- "$policy"
    trap - EXIT
  fi
  return "$status"
}

# install_packages NAME...: nothing is asked; the lists are fetched only when apt does not know, or no longer finds, a package.
install_packages() {
  local -a missing as_root=() bounded=()
  local names mark begin=$SECONDS
  require_supported_system
  names=$(missing_packages "$@") || die 'cannot tell which packages are installed'
  if [[ -z $names ]]; then
    printf 'packages ... all %d installed\n' $#
    return 0
  fi
  mapfile -t missing <<<"$names"
  if ((EUID != 0)); then
    as_root=(sudo -n)
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      die "packages are missing and installing them needs root (or sudo without a password); as root run: apt-get install ${missing[*]}"
    fi
  fi

  printf 'packages: installing %s ... ' "${missing[*]}"
  printf '\n=== packages: %s\n' "${missing[*]}" >>"$log"
  mark=$(wc -l <"$log")
  # Downloading may be cut off at any time; dpkg, once it runs, is left to finish.
  bounded=(timeout -k 10 900)
  if ! apt install --no-install-recommends --download-only "${missing[@]}"; then
    ! apt_said "$lock_held" "$mark" || apt_failed "$mark" "${missing[@]}"
    apt update || true # one broken source among several need not matter: the next line tells
    mark=$(wc -l <"$log")
    apt install --no-install-recommends --download-only "${missing[@]}" || apt_failed "$mark" "${missing[@]}"
  fi
  bounded=()
  mark=$(wc -l <"$log")
  apt install --no-install-recommends --no-download "${missing[@]}" || apt_failed "$mark" "${missing[@]}"
  hash -r
  printf '%d s\n' $((SECONDS - begin))
}
