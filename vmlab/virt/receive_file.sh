# shellcheck shell=sh
# Receives a file into a folder, whole or not at all; what came of it when it was cut off is kept, and gone on from.
# $1: the folder, $2: the file's name, $3: its SHA-256.
# Says `there`, or from which byte on it is to be sent; when all was sent, `there`, or `differs`.
set -e
cd "$1"
umask 022
part=.$2.partial
exec 9>> "$part"
flock 9 # another one sends it
if [ -e "$2" ]; then
  rm -f -- "$part"
  echo there
  exit
fi
[ -e "$part" ] || : > "$part" # who was waited for has finished, and somebody has removed the file since
size=$(stat -c %s -- "$part")
echo "$size"
# Blocks of zeros become holes.
dd bs=1M iflag=fullblock oflag=seek_bytes seek="$size" conv=sparse,notrunc of="$part" 2>/dev/null
if [ "$(sha256sum < "$part")" = "$3  -" ]; then
  sync -- "$part"
  mv -- "$part" "$2"
  echo there
else
  rm -f -- "$part"
  echo differs
fi
