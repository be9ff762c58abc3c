# shellcheck shell=sh
# Makes a VXLAN link what it is to be, and leaves what is so already.
# $1: its name, $2: its alias, $3: the VNI, $4: this host's address, $5: its MTU, $6: the bridge; then the other hosts'.
set -e
link=$1 alias=$2 vni=$3 local=$4 mtu=$5 bridge=$6
shift 6
if [ -e "/sys/class/net/$link" ]; then
  case "$(cat "/sys/class/net/$link/ifalias")" in
    "$alias" | "") ;; # without: it was made, and that was cut off
    *) echo "$link is somebody else's" >&2 && exit 1 ;;
  esac
  case "$(ip -d -o link show dev "$link") " in
    *" vxlan id $vni "*" local $local "*) ;;
    *) ip link delete dev "$link" ;;
  esac
fi
[ -e "/sys/class/net/$link" ] ||
  ip link add "$link" type vxlan id "$vni" local "$local" dstport 4789
ip link set dev "$link" alias "$alias"
ip link set dev "$link" mtu "$mtu" master "$bridge" up
flood=00:00:00:00:00:00
bridge fdb show dev "$link" | while read -r mac what peer rest; do
  [ "$mac $what" = "$flood dst" ] || continue
  case " $* " in *" $peer "*) ;; *) bridge fdb delete "$flood" dev "$link" dst "$peer" ;; esac
done
for peer; do
  bridge fdb show dev "$link" | grep -q "^$flood dst $peer " || bridge fdb append "$flood" dev "$link" dst "$peer"
done
