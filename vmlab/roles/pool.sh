# shellcheck shell=sh
# A pool: its name, its disk. By force, as after a failover its last server has not exported it: mkfs.lustre switches
# multihost on, with which ZFS watches the disk for 20 s and refuses what another host writes to, by force too. Without
# force it would watch once for its refusal, and once more when forced. zpool puts a pool into a partition, which a
# server does not know that was up when its partner made it.
take() { zpool import -N -f -o cachefile=none -d "${2%/*}" "$1"; }
pool() {
    zpool list -H "$1" >/dev/null 2>&1 && return
    take "$@" 2>/dev/null && return
    blockdev --rereadpt "$2" 2>/dev/null && udevadm settle --timeout=30
    take "$@"
}
