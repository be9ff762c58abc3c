# shellcheck shell=sh
# multipathd makes the map of a disk as udev tells of its paths.
set -eu
modprobe dm-multipath
[ -e /etc/multipath.conf ] || cat >/etc/multipath.conf <<END
defaults {
    find_multipaths yes
    user_friendly_names yes
}
END
systemctl enable --now multipathd
multipath -v2
udevadm trigger --subsystem-match=block
udevadm settle
