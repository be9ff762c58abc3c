# shellcheck shell=sh
# What comes before it is `forwards`.
lnetctl set routing 1 || exit
left=140
until forwards; do
    left=$((left - 1))
    [ $left -gt 0 ] || { echo "LNet does not begin to forward" >&2; exit 1; }
    sleep 1
done
