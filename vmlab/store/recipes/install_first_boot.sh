# shellcheck shell=sh
# $1: who logs in. The standard input is an archive of vmlab's unit and its script.
# What the unit takes for granted is looked at here, in a guest that cloud-init made: networkd has set up the network, sshd
# reads files of sshd_config.d, the user is there and at home where his home can be found.
user=$1
for other in NetworkManager networking wicked; do
  systemctl -q is-active $other.service && exit 0
done
systemctl -q is-active systemd-networkd.service || exit 0
grep -qsi '^[[:space:]]*include[[:space:]].*sshd_config[.]d/' /etc/ssh/sshd_config || exit 0
home=$(getent passwd "$user" | cut -d: -f6)
[ -d "$home" ] || exit 0
[ "$user" = root ] || command -v sudo >/dev/null || exit 0
tar -xm -C / -f - || exit
systemctl -q enable systemd-networkd.service vmlab-first-boot.service vmlab-template.service && echo lean
