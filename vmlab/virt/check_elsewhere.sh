# shellcheck shell=sh
# Says what another machine has for beds, a line each: a program and where it is, `user` and its number, `machine` and
# its names, `tun` and `vxlan` where there are such devices. $@: programs.
PATH=$PATH:/usr/sbin:/sbin
for program; do
  place=$(command -v "$program") && echo "$program $place"
done
echo "user $(id -u)"
echo "machine $(uname -n) $(getent ahosts "$(uname -n)" | tr -s '\n' ' ')"
[ -e /dev/net/tun ] && echo "tun /dev/net/tun"
{ [ -d /sys/module/vxlan ] || modprobe -n -q vxlan 2>/dev/null; } && echo "vxlan known to its kernel"
exit 0
