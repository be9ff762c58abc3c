# shellcheck shell=sh
# Lists the regular files of a folder: bytes on the disk, a blank, the name. $1: the folder, which may be absent.
[ -d "$1" ] || exit 0
cd -- "$1" || exit
for file in * .[!.]*; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  echo "$(($(stat -c '%b * %B' -- "$file"))) $file"
done
exit 0
