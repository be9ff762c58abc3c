# shellcheck shell=sh
# Says how a disk looks from here, so that it can be compared with another host's: its bytes, its WWN or `-`, the SHA-256
# of its beginning past the page cache, and that of as many zeros.
# $1: the disk.
set -e
size=$(blockdev --getsize64 "$1" 2>/dev/null || stat -L -c %s -- "$1")
wwn=$(lsblk -dnro WWN -- "$1" 2>/dev/null) || wwn=
begin() { dd if="$1" bs=1M count=1 iflag=direct 2>/dev/null || dd if="$1" bs=1M count=1 2>/dev/null; }
echo "$size ${wwn:--} $(begin "$1" | sha256sum | cut -d' ' -f1) $(head -c 1048576 /dev/zero | sha256sum | cut -d' ' -f1)"
