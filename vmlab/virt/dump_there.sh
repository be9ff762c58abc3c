# shellcheck shell=sh
# Has a place for a guest's memory on this machine, and hands it over; it is gone when we end, and whoever asked is.
# $1: a folder, $2: the file's name, $3: the seconds that its writer has.
# Says how many bytes are free, `busy` where another one has the place, or `no` and why. Hears `send` when the file is
# written, and says its size, then all of it.
trap '' HUP PIPE
umask 077
cd -- "$1" 2>/dev/null || { echo "no $1 is not there"; exit; }
: 2>/dev/null >> "$2" || { echo "no $1/$2 cannot be written"; exit; }
exec 9>> "$2"
flock -n 9 || { echo busy; exit; }
trap 'rm -f -- "$2"' EXIT
df --block-size=1 --output=avail . | tail -n 1 | tr -d ' '
word=$(timeout "$3" head -n 1)
if [ "$word" = send ]; then
  stat -c %s -- "$2"
  cat -- "$2"
fi
