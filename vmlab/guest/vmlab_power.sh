#!/bin/sh
# vmlab-power: switch other nodes of this bed off and on, hard, by asking the host.
#
#   vmlab-power --on|--off|--cycle NODES...     also -1, -0, -c, as powerman's pm has them
#   vmlab-power --status [NODES...]             also -q
#   vmlab-power --powerman                      a device for powermand to talk to
#
# --off returns when the node's QEMU is gone. The way is a virtio-serial port: a line with a number goes, a line with the
# same number comes back. The host knows by the port who asks, and what that may do.

name=io.vmlab.power
lock=/run/vmlab-power.lock
LC_ALL=C
export LC_ALL

complain() {
    echo "vmlab-power: $*" >&2
    exit 1
}

usage() {
    echo "usage: vmlab-power --on|--off|--cycle|--status NODES  (-1 -0 -c -q)" >&2
    exit 2
}

# /dev/virtio-ports has its name only where udev's rules for it are.
find_port() {
    for told in /sys/class/virtio-ports/*/name; do
        [ -r "$told" ] || continue
        read -r found <"$told"
        if [ "$found" = "$name" ]; then
            port=${told%/name}
            port=/dev/${port##*/}
            return 0
        fi
    done
    return 1
}

# In a process of its own, which `timeout` ends: a port that nobody listens to takes writes, and never returns.
if [ "$1" = --ask ]; then
    exec 3<>"$2" || exit 3
    # The empty line ends what somebody who was killed left half written.
    timeout 15 printf '\n%s\n' "$3" >&3 || exit 4
    while IFS= read -r line <&3; do
        case $line in
        "${3%% *} "*)
            printf '%s\n' "${line#* }"
            exit 0
            ;;
        esac
    done
    exit 4
fi

# ask VERB NODES: what the host said, without its number.
ask() {
    read -r number </proc/sys/kernel/random/uuid
    answer=$(flock -w 240 "$lock" timeout 240 "$0" --ask "$port" "$number $1 $2")
    case $?:$answer in
    0:ok | "0:ok "*)
        answer=${answer#ok}
        answer=${answer# }
        ;;
    0:*) problem=${answer#no } && return 1 ;;
    3:*) problem="$port cannot be opened" && return 1 ;;
    *) problem="nobody answers on the host: there, vmlab status BED" && return 1 ;;
    esac
}

# nodes WORD: those that the answer has under it.
nodes() {
    for part in $answer; do
        case $part in
        "$1="*) printf '%s' "${part#*=}" ;;
        esac
    done
}

# As powerman's own coprocesses: a prompt, a line, an answer. What fails is said in words that the device file does not
# expect, so that powerman calls it a failure.
powerman() {
    printf 'vmlab> '
    while IFS=' ' read -r verb node; do
        case $verb in
        quit) exit 0 ;;
        status) if ask status "$node"; then echo "${answer%%=*}"; else echo unknown; fi ;;
        on | off | cycle) if ask "$verb" "$node"; then echo ok; else echo "failed: $problem"; fi ;;
        *) echo "failed: no such word" ;;
        esac
        printf 'vmlab> '
    done
}

case $1 in
-1 | --on) verb=on ;;
-0 | --off) verb=off ;;
-c | --cycle) verb=cycle ;;
-q | --status | --query) verb=status ;;
--powerman) verb=powerman ;;
*) usage ;;
esac
shift

wanted=$(printf '%s,' "$@" | tr ' ' ',')
wanted=${wanted%,}
case $verb:$wanted in
status:) wanted='*' ;;
on: | off: | cycle:) usage ;;
esac
[ "$(id -u)" = 0 ] || complain "only root may ask"
find_port || complain "this node has no port $name: \`powers\` of the topology gives it one"

if [ "$verb" = powerman ]; then
    powerman
    exit 0
fi
ask "$verb" "$wanted" || complain "$problem"
if [ "$verb" = status ]; then
    printf 'on:      %s\noff:     %s\nunknown: %s\n' "$(nodes on)" "$(nodes off)" "$(nodes unknown)"
fi
