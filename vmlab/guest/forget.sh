# shellcheck shell=sh
# Nothing of it may fail for want of a file: distributions have some of these, never all. The login (key, sudo) goes,
# too, so this is the last command in the guest, and it switches off. `seed` is the one thing below /var/lib/cloud that
# a distribution may have put there (as `cloud-init clean` knows). Logs are emptied and not removed: their owners and
# modes are the distribution's. The trim leaves no old blocks in the image.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 022
key=$1
login=$2
for home in /root "$(getent passwd "$login" | cut -d: -f6)"; do
  file=$home/.ssh/authorized_keys
  if [ -f "$file" ] && grep -qF -- "$key" "$file"; then
    grep -vF -- "$key" "$file" >/run/vmlab.keys
    cat /run/vmlab.keys >"$file"
    rm -f /run/vmlab.keys
    [ -s "$file" ] || rm -f "$file"
  fi
  rm -f "$home"/.bash_history
done
for file in /etc/hosts /etc/ssh/ssh_known_hosts /root/.ssh/authorized_keys; do
  if grep -qs '^# vmlab: begin$' "$file"; then
    sed '/^# vmlab: begin$/,/^# vmlab: end$/d' "$file" >/run/vmlab.block
    cat /run/vmlab.block >"$file"
    rm -f /run/vmlab.block
    [ -s "$file" ] || rm -f "$file"
  fi
done
cmp -s /etc/ssh/ssh_host_ed25519_key /root/.ssh/id_ed25519 && rm -f /root/.ssh/id_ed25519 /root/.ssh/id_ed25519-cert.pub
rm -f /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/00-vmlab.conf
[ ! -f /etc/ssh/sshd_config ] || sed -i '/^HostCertificate .*ssh_host_ed25519_key-cert[.]pub$/d' /etc/ssh/sshd_config
find /var/lib/cloud -mindepth 1 -maxdepth 1 ! -name seed -exec rm -rf {} + 2>/dev/null
rm -f /etc/sudoers.d/90-cloud-init-users /etc/ssh/sshd_config.d/50-cloud-init.conf
rm -f /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init* /etc/systemd/network/10-cloud-init-*
rm -rf /etc/vmlab
rm -f /etc/systemd/network/10-vmlab-* /etc/sudoers.d/90-vmlab
rm -f /etc/NetworkManager/system-connections/cloud-init-* /etc/udev/rules.d/70-persistent-net.rules
grep -ls 'Created by cloud-init' /etc/sysconfig/network-scripts/ifcfg-* /etc/sysconfig/network/ifcfg-* |
  while read -r file; do rm -f "$file"; done
rm -rf /var/lib/dhcp/* /var/lib/NetworkManager/*.lease /var/lib/NetworkManager/secret_key
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
echo localhost >/etc/hostname
[ -L /etc/resolv.conf ] || : >/etc/resolv.conf
rm -f /etc/systemd/resolved.conf.d/vmlab.conf
: >/etc/machine-id
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/cache/dnf/* /var/cache/yum/* /var/cache/libdnf5/*
rm -rf /var/cache/zypp/* /var/tmp/* /tmp/*
rm -rf /var/log/journal/* /run/log/journal/*
find /var/log -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.[0-9]' -o -name '*.old' \) -exec rm -f {} +
find /var/log -type f -exec sh -c 'for file; do : >"$file"; done' vmlab {} +
sync
fstrim -a 2>/dev/null
echo "$3"
systemctl --no-block poweroff || poweroff
