# shellcheck shell=sh
tag=$1 at=$2 type=$3 mode=$4
grep -q "^$tag $at $type " /etc/fstab || exit 1
awk -v tag="$tag" -v at="$at" -v type="$type" -v mode="$mode" '
    $2 == at { found = $1 == tag && $3 == type && $4 ~ "^" mode "(,|$)" }
    END { exit !found }' /proc/mounts
