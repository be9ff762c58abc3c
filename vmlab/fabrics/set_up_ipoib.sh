# shellcheck shell=sh
# What comes before it is find_ipoib.sh; the arguments are those of ipoib_ready.sh.
# The name may be that of another port's interface, which then gets a passing one, until its own step.
[ -d /sys/module/ib_ipoib ] || modprobe ib_ipoib || exit
interface=
tries=0
while [ $tries -lt 50 ]; do
    find_ipoib "$1"
    [ -z "$interface" ] || break
    tries=$((tries + 1))
    sleep 0.2
done
[ -n "$interface" ] || { echo "no IPoIB interface has the GUID $1" >&2; exit 1; }
if [ "$interface" != "$2" ]; then
    if [ -e "/sys/class/net/$2" ]; then
        [ "$(cat "/sys/class/net/$2/type")" = 32 ] || { echo "$2 is another interface, not InfiniBand" >&2; exit 1; }
        ip link set dev "$2" down || exit
        ip link set dev "$2" name "vl$(cat "/sys/class/net/$2/ifindex")" || exit
    fi
    ip link set dev "$interface" down || exit
    ip link set dev "$interface" name "$2" || exit
fi
[ -z "$4" ] || ip link set dev "$2" mtu "$4" || exit
ip address replace "$3" dev "$2" || exit
ip link set dev "$2" up
