# shellcheck shell=sh
# Before the clock is set to $1, in seconds since 1970. To Lustre's servers a jump looks as if all clients had been
# silent for as long, and they are evicted. So a server's patience (6 ping intervals, obd_support.h) is longer than the
# jump, and all clients are heard once with that, before any clock jumps. Whoever asked may be gone by then: after two
# minutes all is as before. Says "jumps" where there is a Lustre that would mind.
jump=$(($1 - $(date +%s)))
devices=$(lctl dl 2>/dev/null)
[ "$jump" -gt 60 ] && [ -n "$devices" ] || exit 0
echo jumps
case $devices in
  *" mgs "* | *" mdt "* | *" obdfilter "*) ;;
  *) exit 0 ;;
esac
patience=$((jump / 6 + 60))
for setting in "ping_interval $patience" "timeout $((4 * patience))"; do
  name=${setting% *}
  before=$(lctl get_param -n "$name" 2>/dev/null) || continue
  [ -e /run/vmlab-patience ] || echo "$name=$before" >/run/vmlab-patience
  lctl set_param -n "$name=${setting#* }"
  # shellcheck disable=SC2016 # what is in the file by then
  setsid sh -c 'sleep 120 && lctl set_param -n "$(cat /run/vmlab-patience)"' </dev/null >/dev/null 2>&1 &
  exit 0
done
