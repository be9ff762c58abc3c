# shellcheck shell=sh
# What lies on a disk under other names than ours: Lustre's test framework mounts elsewhere, and through a device of the
# device mapper, which keeps the disk when it is unmounted.
above() { # the kernel's name of $1, and those of all that the device mapper has on it
    echo "$1"
    for holder in /sys/class/block/"$1"/holders/*; do
        [ ! -e "$holder" ] || above "${holder##*/}"
    done
}
names() {
    disk=$(readlink -f "$1")
    [ ! -e "$disk" ] || above "${disk##*/}"
}
elsewhere() { # where Lustre has $2 mounted, apart from $1
    ours=$(names "$2" | tr '\n' ' ')
    while read -r from at kind _; do
        case $kind in lustre*) ;; *) continue ;; esac
        case $at in "$1") continue ;; esac
        [ -e "$from" ] || continue
        from=$(readlink -f "$from")
        case " $ours" in *" ${from##*/} "*) echo "$at" ;; esac
    done </proc/mounts
}
framework() { # its devices on $1
    for name in $(names "$1"); do
        [ ! -e "/sys/class/block/$name/dm/name" ] ||
            grep -xE '(mgs|mds[0-9]+|ost[0-9]+)(failover)?_flakey' "/sys/class/block/$name/dm/name"
    done
    return 0
}
