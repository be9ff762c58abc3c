# shellcheck shell=sh
# What would install something by itself, now of all times, is stopped; then a line for each fact.
systemctl -q stop apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service dnf-automatic.timer \
  dnf-makecache.timer packagekit.service 2>/dev/null
echo "boots $(uname -r)"
echo "machine $(uname -m)"
echo "cmdline $(cat /proc/cmdline)"
echo "distribution $(. /etc/os-release; echo "$PRETTY_NAME")"
for program in apt-get dnf zypper yum; do
  command -v $program >/dev/null && echo "program $program"
done
for file in /boot/vmlinuz-* /lib/modules/*/vmlinuz; do
  [ -s "$file" ] && echo "kernel $file"
done
file=$(mktemp)
case $(mke2fs -q -n -F -O dirdata "$file" 1024 2>&1) in
  *"Invalid filesystem option set"*) echo "lacks dirdata" ;;
esac
rm -f "$file"
:
