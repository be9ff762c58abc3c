# shellcheck shell=sh
# A word for each path: SOURCE,NID and the gateways behind. Says a line for each path over each gateway: `ok` or `no`,
# source, NID, gateway and, after a `no`, why. What fails is tried again for PATIENCE seconds and must answer once: when
# an interface goes down, others fail too until LNet has closed its connections and weighed its routes anew. A gateway
# that LNet holds for down stays so for a minute unless it is discovered.
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
        used=$(printf '%s\n' "$before" "$after" | awk '$1 in n && n[$1] != $2 { print $1 } { n[$1] = $2 }')
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

told='' end=$(($(date +%s) + patience))
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
    # shellcheck disable=SC2046  # words without blanks
    set -- $(again "$@")
done
echo "$told"
[ -z "$bad" ] || echo "$bad" | while read -r _ source nid gateway why; do
    [ "$source" = - ] && source= || source=" from $source"
    [ "$gateway" = - ] && gateway= || gateway=" via $gateway"
    echo "failed to ping $nid$source$gateway: $why" >&2
done
[ -z "$bad" ]
