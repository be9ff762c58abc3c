# shellcheck shell=sh
set -e
release=$1 to=$2
take() {
  for file in $1; do
    if [ -s "$file" ]; then install -m 644 "$file" "$to/$3"; return; fi
  done
  echo "there is no $2 of $release in the guest (looked for: $1)" >&2
  exit 1
}
rm -rf "$to"
mkdir -m 755 "$to"
take "/boot/vmlinuz-$release /lib/modules/$release/vmlinuz /usr/lib/modules/$release/vmlinuz" vmlinuz kernel
take "/boot/initrd.img-$release /boot/initramfs-$release.img /boot/initrd-$release" initrd initrd
