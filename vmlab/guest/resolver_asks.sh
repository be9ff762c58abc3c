# shellcheck shell=sh
# Does the guest's resolver ask the server $1 first? Others are asked only where that one does not answer. Of a loopback
# address it is the local resolver that counts: systemd's tells which servers it has, any other is the image's own choice.
server=$1
while read -r key value _ || [ -n "$key" ]; do
  [ "$key" = nameserver ] || continue
  case $value in
    "$server") exit 0 ;;
    127.0.0.53 | 127.0.0.54)
      timeout 60 resolvectl dns 2>/dev/null | grep -qwF "$server"
      exit
      ;;
    127.* | ::1) exit 0 ;;
  esac
  exit 1
done </etc/resolv.conf
exit 1
