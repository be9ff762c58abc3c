# shellcheck shell=sh disable=SC2034
# find_ipoib GUID: the port's IPoIB interface, as $interface; nothing if there is none.
# Its address ends with the GUID, as do those of its children (partitions), which have a parent.
find_ipoib() {
    interface=
    for address in $(grep -lsi -e ":$1\$" /sys/class/net/*/address); do
        folder=${address%/address}
        [ -e "$folder/parent" ] || { interface=${folder#/sys/class/net/}; break; }
    done
}
