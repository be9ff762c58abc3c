# shellcheck shell=sh
for found in /sys/class/net/*; do
    case $(cat "$found/address" 2>/dev/null) in *"$2") has=${found##*/} ;; esac
done
if [ "$has" = "$1" ]; then
    echo "the interface $1 has not the address $3: $(ip -4 -br addr show dev "$1")" >&2
else
    echo "the interface with the address $2 is named ${has:-nothing}, not $1: cloud-init did not name it" >&2
fi
exit 1
