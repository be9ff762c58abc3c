# shellcheck shell=sh
# Ends what exports a volume of vmlab's, and returns when it is gone. $1: the export's name.
mine=$(readlink /proc/self/ns/mnt)
for process in /proc/[0-9]*; do
  read -r program 2>/dev/null <"$process/comm" && [ "$program" = qemu-nbd ] || continue
  [ "$(readlink "$process/ns/mnt")" = "$mine" ] || continue
  words=$(tr '\0' '\n' 2>/dev/null <"$process/cmdline")
  echo "$words" | grep -qxF -e "--description=vmlab" || continue
  echo "$words" | grep -qxF -e "--export-name=$1" || continue
  pid=${process#/proc/}
  kill "$pid" 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "$process" ] || continue 2
    sleep 0.2
  done
  kill -9 "$pid" 2>/dev/null
done
exit 0
