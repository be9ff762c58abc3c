# shellcheck shell=sh
# Ends what exports a volume of vmlab's, and returns when it is gone. $1: the export's name. After exporters.sh.
exporters | while read -r pid name _; do
  [ "$name" = "$1" ] || continue
  kill "$pid" 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "/proc/$pid" ] || continue 2
    sleep 0.2
  done
  kill -9 "$pid" 2>/dev/null
done
exit 0
