# shellcheck shell=sh
# failing.sh WHAT NAME: what the device mapper's device NAME does with what is read and written. WHAT is error_reads or
# error_writes of dm-flakey, full, or linear: nothing is wrong. `look-flakey` and `look-full` change nothing.
what=$1 name=$2
die() { echo "$1" >&2; exit "${2:-1}"; }
has() { modprobe -q "$1" 2>/dev/null || die "its kernel has no $1"; }

# shellcheck disable=SC2046
set -- $(dmsetup table "$name" 2>/dev/null)
[ $# -gt 3 ] || die "there is no $name" 3
size=$2 is=$3 disk=$4
[ "$is" != thin ] || disk=$6

# The new table is there before anything stands still, so that one that the kernel does not take changes nothing. No file
# system is frozen: that would write to a disk that fails.
swap() {
    dmsetup load "$name" --table "$1" || die "its kernel's dm-flakey or dm-thin-pool cannot do that: $(dmesg | tail -n 1)"
    trap '' HUP INT TERM
    dmsetup suspend --nolockfs "$name"
    dmsetup resume "$name" || exit
}

# What a full disk is made of.
tidy() {
    for part in fill pool data meta; do
        ! dmsetup info "$name-$part" >/dev/null 2>&1 || dmsetup remove --retry "$name-$part" || exit
    done
}

# A thin disk with the real one below it: what is read comes from there, what is written wants a block of the pool. The pool
# has one, which is taken at once. Its 5 MiB are the memory's, and are gone with the last that uses them.
full() {
    tidy
    file=/run/$name.pool
    modprobe -q loop
    truncate -s 5M "$file" && loop=$(losetup -f --show "$file") || die "there is no loop device for 5 MiB in /run"
    rm "$file"
    dmsetup create "$name-meta" --table "0 8192 linear $loop 0" &&
        dmsetup create "$name-data" --table "0 128 linear $loop 8192"
    status=$?
    losetup -d "$loop"
    [ $status = 0 ] || exit
    dmsetup create "$name-pool" \
        --table "0 128 thin-pool /dev/mapper/$name-meta /dev/mapper/$name-data 128 0 1 error_if_no_space" &&
        dmsetup message "$name-pool" 0 "create_thin 0" &&
        dmsetup message "$name-pool" 0 "create_thin 1" &&
        dmsetup create "$name-fill" --table "0 128 thin /dev/mapper/$name-pool 0" &&
        dd if=/dev/zero of="/dev/mapper/$name-fill" bs=64k count=1 oflag=direct status=none &&
        dmsetup remove --retry "$name-fill" || exit
    swap "0 $size thin /dev/mapper/$name-pool 1 $disk"
}

case $what in
look-flakey) has dm-flakey ;;
look-full) has dm-thin-pool && command -v losetup >/dev/null || die "it has no losetup" ;;
full) [ "$is" = thin ] || full ;;
linear) swap "0 $size linear $disk 0" && tidy ;;
*) has dm-flakey && swap "0 $size flakey $disk 0 0 60 1 $what" && tidy ;;
esac
