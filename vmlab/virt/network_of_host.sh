# shellcheck shell=sh
# Says what a host has for a bed's networks, a part a line: routes, addresses, VXLAN links and where they lead, as JSON
# of iproute2's; the bridges; disks that are exported, NAME,ADDRESS,PORT; the TCP ports that are listened on.
# After exporters.sh.
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
exporters | while read -r _ name address port; do printf '%s,%s,%s ' "$name" "$address" "$port"; done
echo
awk '$4 == "0A" { sub(/.*:/, "", $2); printf "%s ", $2 }' /proc/net/tcp
echo
