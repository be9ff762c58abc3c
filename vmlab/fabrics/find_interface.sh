# shellcheck shell=sh
# The interface is found by its MAC address: what the guest calls it is the guest's business.
interface=$(grep -lsix -e "$1" /sys/class/net/*/address | head -n 1)
interface=${interface#/sys/class/net/}
interface=${interface%/address}
[ -n "$interface" ] || { echo "no network interface has the address $1" >&2; exit 1; }
