# shellcheck shell=sh
# leaving POINT: an umount that a killed vmlab began goes on in the guest. The mount is in no list from its beginning, and is over when
# the process is: until then it writes.
leaving() {
    for file in $(grep -lszxF -e "$1" /proc/[0-9]*/cmdline); do
        cat "$file" 2>/dev/null | tr '\0' '\n' | head -n 1 | grep -qE '(^|/)umount$' && return
    done
    return 1
}
