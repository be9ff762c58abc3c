# shellcheck shell=sh
set -eu
tag=$1 at=$2 type=$3 options=$4 module=$5 config=$6
modprobe "$module" 2>/dev/null || :
grep -qw "$type" /proc/filesystems || {
    echo "the guest's kernel $(uname -r) has no file system $type (module $module, $config)" >&2
    exit 1
}
mkdir -p "$at"
sed -i "/^$tag /d" /etc/fstab
echo "$tag $at $type $options 0 0" >>/etc/fstab
mount "$at"
