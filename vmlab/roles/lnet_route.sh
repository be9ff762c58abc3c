# shellcheck shell=sh
# What comes before it is lnet_routes.sh. The arguments are the routes that there shall be, three words each.
have=$(routes)
wanted=$(printf '%s %s %s\n' "$@")
echo "$have" | while read -r net gateway hops; do
    [ -z "$net" ] || echo "$wanted" | grep -qxF "$net $gateway $hops" ||
        lnetctl route del --net "$net" --gateway "$gateway" || exit
done || exit
echo "$wanted" | while read -r net gateway hops; do
    echo "$have" | grep -qxF "$net $gateway $hops" ||
        lnetctl route add --net "$net" --gateway "$gateway" -c "$hops" || exit
done
