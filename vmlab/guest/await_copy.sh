# shellcheck shell=sh
# In a guest whose memory is about to be kept. A process waits for its kernel's word that it goes on as a copy (vmgenid, Linux
# 5.18), then sets the clock by the one that QEMU keeps, and says so on the console: nobody has to log in for that. Where
# Lustre would take the jump for silence (be_patient.sh) it leaves that to whoever can speak to all nodes. Prints "waits".
clock=/sys/class/rtc/rtc0/since_epoch mark="vmlab: waits $$" heard=/run/vmlab-waits.heard
ls /sys/bus/*/drivers/vmgenid/*:* >/dev/null 2>&1 && grep -q 'ttyS[0-9]*$' /sys/class/tty/console/active || exit 0
read -r seconds <$clock && off=$((seconds - $(date +%s))) && [ $((off * off)) -lt 160000 ] || exit 0  # it counts UTC
echo "<7>$mark" >/dev/kmsg && dmesg | grep -qF "$mark" || exit 0
if [ -s /run/vmlab-waits ]; then
  read -r before </run/vmlab-waits
  kill -- "-$before" 2>/dev/null
fi
rm -f $heard
read -r _ _ _ _ _ session _ <"/proc/$$/stat"
read -r _ _ _ sshd _ <"/proc/$session/stat"
# One record is read at a time, from the oldest that there is: those before the mark are of an earlier copy, and are read
# before the memory is kept, not by each copy. Nobody is at the other end of a copy's connection, so it goes.
# shellcheck disable=SC2016 # the shell that waits expands it
setsid sh -c '
  exec 4</dev/kmsg
  sed -n "/$2\$/q" <&4 && echo "$2" >"$4" || exit
  [ -n "$(sed -n "/reseeded due to virtual machine fork/{p;q}" <&4)" ] || exit
  : >/run/vmlab-waits
  read -r seconds <"$1"
  if [ -d /sys/module/obdclass ] && [ $((seconds - $(date +%s))) -gt 60 ]; then
    echo "vmlab: clock: it jumps" >/dev/console
  else
    date -u -s "@$seconds" >/dev/null && echo "vmlab: clock: set" >/dev/console
  fi
  read -r who <"/proc/$3/comm" && case $who in sshd*) kill "$3" ;; esac
' vmlab "$clock" "$mark" "$sshd" "$heard" </dev/null >/dev/null 2>&1 &
waiting=$!
echo $waiting >/run/vmlab-waits
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  [ ! -s $heard ] || break
  sleep 0.2
done
if kill -0 $waiting 2>/dev/null; then echo waits; fi
