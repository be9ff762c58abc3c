# shellcheck shell=sh
# Says what a host has for a bed's networks, a part a line: routes, addresses, VXLAN links and where they lead, as JSON
# of iproute2's; and the bridges.
show() {
  said=$("$@") || exit
  echo "${said:-[]}" | tr -d '\n'
  echo
}
show ip -json -4 route show
show ip -json -4 address show
show ip -json -details link show type vxlan
show bridge -json fdb show
for path in /sys/class/net/*/bridge; do
  [ -d "$path" ] && name=${path%/bridge} && printf '%s ' "${name##*/}"
done
echo
