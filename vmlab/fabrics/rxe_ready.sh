# shellcheck shell=sh disable=SC2154
# What comes before it is find_interface.sh.
# ready GID: an rxe device is there, on the interface, active, and has the GID of the address: without that GID no
# connection is possible, and it appears a moment after the device. The table has 1024 places, filled from the first;
# reading all of them takes a second in a slow guest.
ready() {
    for parent in /sys/class/infiniband/*/parent; do
        [ "$(cat "$parent" 2>/dev/null)" = "$interface" ] || continue
        port=${parent%/parent}/ports/1
        grep -q ACTIVE "$port/state" && grep -qsx -e "$1" "$port"/gids/? "$port"/gids/?? && return
    done
    return 1
}
