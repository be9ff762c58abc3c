# shellcheck shell=sh
# One round trip. IPv6 may be off and the kernel's log closed to us; of all else, not to know is an error.
set -e
find /sys/class/net /sys/class/block -maxdepth 1 -type l -printf '%p %l\n'
printf '\0'
ip -json -4 route show table all
ip -json -6 route show table all 2>/dev/null || :
printf '\0'
cat /proc/self/mountinfo
printf '\0'
cat /proc/swaps
printf '\0'
dmesg 2>/dev/null || journalctl --dmesg --output=cat --no-pager 2>/dev/null || :
printf '\0'
find /sys/bus/pci/devices/*/net -maxdepth 0 -type d -empty -printf '%h\n' 2>/dev/null || :
printf '\0'
find /proc/[0-9]*/fd -maxdepth 1 -lname '/dev/vfio/*[0-9]' -printf '%p %l\n' 2>/dev/null | while read -r fd path; do
    pid=${fd#/proc/}
    pid=${pid%%/*}
    printf '%s %s %s\n' "$pid" "$path" "$(cat "/proc/$pid/comm" 2>/dev/null)"
done || :
