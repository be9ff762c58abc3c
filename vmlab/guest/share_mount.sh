# shellcheck shell=sh
set -eu
tag=$1 at=$2 type=$3 options=$4 modules=$5 config=$6
# shellcheck disable=SC2086 # several words
modprobe -a $modules 2>/dev/null || :
grep -qw "$type" /proc/filesystems || {
    echo "the guest's kernel $(uname -r) has no file system $type (modules $modules; $config)" >&2
    exit 1
}
mkdir -p "$at"
sed -i "/^$tag /d" /etc/fstab
echo "$tag $at $type $options 0 0" >>/etc/fstab
mount "$at"
