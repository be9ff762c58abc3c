# shellcheck shell=sh
# Before 2.12 /proc/mounts does not say which target is mounted; `lctl dl` does, and whether it runs.
awk -v at="$1" -v name="$2" '
    $2 == at && $3 ~ /^lustre/ && ($4 !~ /svname=/ || ("," $4 ",") ~ ("," "svname=" name ",")) { found = 1 }
    END { exit !found }' /proc/mounts || exit 1
case $2 in *-MGS0000) service=MGS ;; *) service=$2 ;; esac
lctl dl 2>/dev/null | grep -qE "^ *[0-9]+ UP (mgs|mdt|obdfilter) $service "
