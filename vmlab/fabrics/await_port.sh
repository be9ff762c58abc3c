# shellcheck shell=sh
# What comes before it is find_port.sh.
# $1: the port's GUID; $2: how long to wait in seconds, for the driver and then for the subnet manager; $3: what to say if
# it is in vain.
port=
end=$(($(date +%s) + $2))
while :; do
    find_port "$1"
    [ -n "$port" ] && grep -q ACTIVE "$port/state" && exit 0
    [ "$(date +%s)" -lt "$end" ] || break
    sleep 0.2
done
if [ -z "$port" ]; then
    guids=$(cat /sys/class/infiniband/*/ports/*/gids/0 2>/dev/null | cut -d : -f 5- | tr '\n' ' ')
    echo "no InfiniBand port has the GUID $1 (there are: ${guids:-none})" >&2
    exit 1
fi
name=${port#/sys/class/infiniband/}
state=$(cat "$port/state")
lid=$(($(cat "$port/lid")))
sm_lid=$(($(cat "$port/sm_lid")))
echo "${name%%/*} port ${name##*/} is ${state#*: }, lid $lid, sm_lid $sm_lid. $3" >&2
exit 1
