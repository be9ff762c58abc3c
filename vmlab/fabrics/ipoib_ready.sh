# shellcheck shell=sh
# What comes before it is find_ipoib.sh.
# $1: the port's GUID; $2: the name that its interface shall have; $3: its IP address with the prefix length; $4: its MTU,
# or nothing.
interface=
find_ipoib "$1"
[ "$interface" = "$2" ] || exit 1
[ -z "$4" ] || [ "$(cat "/sys/class/net/$2/mtu")" = "$4" ] || exit 1
ip -o -4 address show dev "$2" up | grep -qF " $3 "
