#!/bin/sh
# Makes a second libvirt host of the namespaces that it runs in (mount, network, UTS, processes).
# $1: a folder on disk, which becomes its /var/lib/libvirt and what else it writes, with libvirtd's configuration;
# $2: the Python that reaps orphans.
set -e
hostname second
mount --make-rprivate /
ip link set lo up
umount -R /sys # with it the cgroups, which are the machine's
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/sshd
mkdir -p "$1/etc/upper" "$1/etc/work"
mount -t overlay overlay -o "lowerdir=/etc/libvirt,upperdir=$1/etc/upper,workdir=$1/etc/work" /etc/libvirt
rm -rf /etc/libvirt/qemu /etc/libvirt/storage
for folder in lib cache log; do
  mkdir -p "$1/$folder"
  mount --bind "$1/$folder" "/var/$folder/libvirt"
done
sysctl -q -w net.ipv4.ip_forward=1
virtlogd -d
exec "$2" scripts/reaper.py libvirtd -d --listen --config "$1/libvirtd.conf"
