"""Pings over LNet, each path by itself: the command that a node runs for them, and what it answers.

What LNet chooses for itself proves nothing of a path. A ping of one NID of a Multi-Rail peer goes to whichever of its
NIDs LNet likes best, and is answered although the interface of the one that was named is dead. From 2.15 on
(LU-14939) `lnetctl ping --source` pins both ends. Older ones prove only that the node answers; 2.10 has no more than
`lctl ping`.

No command names the router. LNet takes turns among the equal ones that it holds for up, and counts what it sends to
each, so the script pings until the counters of all have moved: a router works when a ping that went over it, and over
no other, was answered. What is behind the next one is for that router to prove, by the same pings from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmlab.lustre.lnetconf import Path
from vmlab.lustre.version import Version
from vmlab.steps import Command

_ANSWER_S = 10
"""Without a limit LNet waits for up to 200 s where a connection is open and its cable is cut, and cannot be killed."""
_AT_ONCE = 8
_NONE = "-"

# A word for each path: SOURCE,NID and the gateways behind. Says a line for each path over each gateway: `ok` or `no`,
# source, NID, gateway and, after a `no`, why. What fails is tried again for PATIENCE seconds and must answer once: when
# an interface goes down, others fail too until LNet has closed its connections and weighed its routes anew. A gateway
# that LNet holds for down stays so for a minute unless it is discovered.
PING = """
how=$1 patience=$2 seconds=$3 jobs=$4
shift 4

ask() {
    case $how in
        source) said=$(lnetctl ping --timeout "$seconds" --source "$1" "$2" 2>&1) ;;
        any) said=$(lnetctl ping --timeout "$seconds" "$2" 2>&1) ;;
        *) said=$(lctl ping "$2" "$seconds" 2>&1) ;;
    esac
    case $said in *"primary nid:"* | *12345-*) return 0 ;; esac
    why=$(echo "$said" | sed -n "s/.*failed to ping [^ ]*: *//p" | tr -d "'" | head -n 1)
    [ -n "$why" ] || case $said in
        *"resolve Netlink family"* | *"/dev/lnet failed"*) why="LNet is not loaded here" ;;
        *"Network is down"* | *"LNet stack down"*) why="LNet has no network here" ;;
        *) why="no answer within $seconds s" ;;
    esac
    case $why in
        "Invalid argument") why="$why: is the interface of $1 down?" ;;
        "Operation canceled") why="no answer within $seconds s" ;;
    esac
    return 1
}

alone() {
    if ask "$1" "$2"; then echo "ok $1 $2 ${3:--}"; else echo "no $1 $2 ${3:--} $why"; fi
}

sent() {
    for gateway; do
        lnetctl peer show --nid "$gateway" -v 2 2>/dev/null | awk -v nid="$gateway" '
            /_stats:/ { sent = /sent_stats:/ }
            sent && $1 == "get:" { count += $2 }
            END { print nid, count + 0 }'
    done
}

down() {
    lnetctl route show -v 2>/dev/null | awk -v to="${1#*@}" '
        / net: / { net = $NF }
        / gateway: / { gateway = $NF }
        / state: / && net == to && $NF == "down" { print gateway }'
}

settle() {
    case $waiting in *" $2 "*) ;; *) return ;; esac
    waiting="${waiting%% $2 *} ${waiting#* $2 }"
    echo "$1 $source $nid $2${3:+ $3}"
}

one() { [ $# = 1 ]; }

over() {
    source=$1 nid=$2
    shift 2
    waiting=" $* " left=$((3 * $#)) shared=" " failed="LNet sends nothing over it"
    for gateway in $(down "$nid"); do settle no "$gateway" "the route is down"; done
    before=$(sent "$@")
    while [ "$waiting" != " " ] && [ $left -gt 0 ]; do
        [ $left -gt $# ] || sleep 1
        left=$((left - 1))
        why=
        ask "$source" "$nid"
        after=$(sent "$@")
        used=$(printf '%s\\n' "$before" "$after" | awk '$1 in n && n[$1] != $2 { print $1 } { n[$1] = $2 }')
        before=$after
        if one $used; then
            [ -z "$why" ] && settle ok $used || settle no $used "$why"
        elif [ -n "$why" ]; then
            left=$((left - 1)) failed=$why
        else
            for gateway in ${used:-$waiting}; do shared="$shared$gateway "; done
        fi
    done
    for gateway in $(down "$nid"); do settle no "$gateway" "the route is down"; done
    for gateway in $waiting; do
        case $shared in
            *" $gateway "*) settle ok "$gateway" ;;
            *) settle no "$gateway" "$failed" ;;
        esac
    done
}

direct() {
    running=0
    for path; do
        IFS=,
        set -- $path
        unset IFS
        [ $# -le 3 ] || continue
        alone "$@" &
        running=$((running + 1))
        [ $((running % jobs)) != 0 ] || wait
    done
    wait
}

routed() {
    for path; do
        IFS=,
        set -- $path
        unset IFS
        [ $# -le 3 ] || over "$@"
    done
}

again() {
    for path; do
        IFS=,
        set -- $path
        unset IFS
        case $bad in *"no $1 $2 "*) echo "$path" ;; esac
    done
}

told= end=$(($(date +%s) + patience))
while :; do
    told=$(echo "$told"; direct "$@"; routed "$@")
    told=$(echo "$told" | awk '
        NF { path = $2 " " $3 " " $4; if (!(path in last) || last[path] !~ /^ok/) last[path] = $0 }
        END { for (path in last) print last[path] }')
    bad=$(echo "$told" | grep "^no ")
    [ -n "$bad" ] && [ "$(date +%s)" -lt $end ] || break
    sleep 1
    for gateway in $(echo "$bad" | awk '$4 != "-" { print $4 }' | sort -u); do
        timeout 10 lnetctl discover "$gateway" >/dev/null 2>&1
    done
    set -- $(again "$@")
done
echo "$told"
[ -z "$bad" ] || echo "$bad" | while read -r no source nid gateway why; do
    [ "$source" = - ] && source= || source=" from $source"
    [ "$gateway" = - ] && gateway= || gateway=" via $gateway"
    echo "failed to ping $nid$source$gateway: $why" >&2
done
[ -z "$bad" ]
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one path over one gateway. `source` and `via` are empty where LNet chose, or needed none."""

    source: str
    nid: str
    via: str
    ok: bool
    said: str = ""


def command(paths: Sequence[Path], version: Version, *, patience_s: int = 0) -> Command:
    """Pings all paths. Exits with 1 if one failed in the end, and names each that did on standard error.

    The paths may well be of several nodes. For `patience_s` it tries again.
    """
    how = _how(version)
    words = dict.fromkeys(",".join((source, nid, *vias)) for source, nid, vias in _asked(paths, version))
    return ("sh", "-c", PING, "vmlab", how, str(patience_s), str(_ANSWER_S), str(_AT_ONCE), *words)


def limit_s(paths: Sequence[Path]) -> float:
    """How long the command may take without patience, if everything is dead."""
    several = sum(3 * len(path.gateways) for path in paths if len(path.gateways) > 1)
    return _ANSWER_S * (len(paths) // _AT_ONCE + several + 3.0)


def answers(text: str, paths: Sequence[Path], version: Version) -> tuple[Answer, ...]:
    """What `command` printed, in the order of the paths; one that it says nothing of has failed."""
    found = {}
    for line in text.splitlines():
        word, *where, why = (*line.split(" ", 4), *[""] * 5)[:5]
        found[tuple(where)] = (word == "ok", why.strip())
    wanted = dict.fromkeys(
        (source, nid, via) for source, nid, vias in _asked(paths, version) for via in vias or (_NONE,)
    )
    return tuple(
        Answer(source.strip(_NONE), nid, via.strip(_NONE), *found.get((source, nid, via), (False, "no answer")))
        for source, nid, via in wanted
    )


def _how(version: Version) -> str:
    return "source" if version >= (2, 15) else "any" if version >= (2, 11) else "lctl"


def _asked(paths: Sequence[Path], version: Version) -> list[tuple[str, str, tuple[str, ...]]]:
    """Source, NID and gateways of each ping; without a source all paths to a NID are one."""
    if _how(version) == "source":
        return [(str(path.source), str(path.nid), tuple(map(str, path.gateways))) for path in paths]
    gateways: Mapping[str, dict[str, None]] = {str(path.nid): {} for path in paths}
    for path in paths:
        gateways[str(path.nid)].update(dict.fromkeys(map(str, path.gateways)))
    return [(_NONE, nid, tuple(vias)) for nid, vias in gateways.items()]
