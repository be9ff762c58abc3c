# shellcheck shell=sh disable=SC2154
# What comes before it are find_interface.sh, whose argument is the first, and rxe_ready.sh.
# $2: the GID that the device shall have; $3: the address that it is made of, for people.
# One at a time: the unit may be at it while the node boots.
exec 9<"/sys/class/net/$interface/address" && flock 9 || exit
if ! grep -qsx -e "$interface" /sys/class/infiniband/*/parent; then
    [ -d /sys/module/rdma_rxe ] || modprobe rdma_rxe || exit
    rdma link add "rxe_$interface" type rxe netdev "$interface" || exit
fi
tries=0
while [ $tries -lt 100 ]; do
    ready "$2" && exit 0
    tries=$((tries + 1))
    sleep 0.1
done
echo "soft-RoCE on $interface does not become active with the address $3" >&2
exit 1
