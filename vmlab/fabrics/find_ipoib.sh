# shellcheck shell=sh disable=SC2034
# What comes after it uses $interface.
# An IPoIB interface's address ends with the port's GUID, as do those of its children (partitions), which have a parent.
interface=
for address in $(grep -lsi -e ":$1\$" /sys/class/net/*/address); do
    folder=${address%/address}
    [ -e "$folder/parent" ] || { interface=${folder#/sys/class/net/}; break; }
done
