# shellcheck shell=sh
# $1: the mount point; $2: the file system. The source may name the MGS in another order than it was mounted by: what
# counts is the file system.
awk -v at="$1" -v end=":/$2" '
    $2 == at && $3 == "lustre" && substr($1, length($1) - length(end) + 1) == end { found = 1 }
    END { exit !found }' /proc/mounts
