# shellcheck shell=sh
# The functions that the calls which follow refer to; nothing is ever put into this text. The commands' output goes to a
# file and not to a pipe, which a daemon that a step starts would hold open; the file has no name, so that none is left.
# Each process costs an emulated guest tens of milliseconds: a check that needs none is evaluated here, and only what
# runs has a timeout and a file.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022
out=
file() {
  if [ -d /run ] && [ -z "$TMPDIR" ]; then
    out=/run/vmlab-steps.$$
    exec 3<>"$out"
  else
    out=$(mktemp) && exec 3<>"$out"
  fi && rm -f "$out" || exit 1
  out=/proc/$$/fd/3
}
tell() { echo "vmlab: $*"; }
clock() { read -r up rest </proc/uptime; up=${up%.*}; }
try() { [ -n "$out" ] || file; clock; begin=$up; timeout -k 5 "$@" </dev/null >"$out" 2>&1 3>&-; }
# eval SCRIPT NAME ARGUMENT...: what `sh -c` would do.
here() (
  script=$1
  shift 2
  eval "$script"
) </dev/null >/dev/null 2>&1
holds() {
  if [ "$2" = here ]; then
    shift 2
    here "$@"
  else
    try "$@"
  fi
}
fail() {
  clock
  tell "$@" "$((up - begin))"
  [ "$3" != 137 ] || tell memory "$(out_of_memory "$begin")"
  tail -n 40 "$out" | sed 's/^/| /'
  exit 1
}
check() {
    step=$1 todo=
    shift
    tell check "$step"
    if holds "$@"; then tell ok "$step"; else todo=1; tell apply "$step"; fi
}
apply() { number=$1; shift; [ -z "$todo" ] || try "$@" || fail failed "$step" "$?" "$number"; }
verify() {
    [ -n "$todo" ] || return 0
    if [ "$2" = here ]; then
        seconds=$1
        shift 2
        here "$@" || try "$seconds" sh -c "$@"
    else
        try "$@"
    fi || fail failed "$step" "$?" check
    tell applied "$step"
}
