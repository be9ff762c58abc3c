# shellcheck shell=sh
# Removes files of a folder and says which. One that is being sent is held (receive_file.sh), and stays.
# $1: the folder, then the names.
cd -- "$1" || exit
shift
for file; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  (
    exec 9< "$file" && flock -n 9 && rm -f -- "$file"
  ) && echo "$file"
done
exit 0
