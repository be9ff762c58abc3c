# shellcheck shell=sh
# Each file that is ready takes the place of the one that it is for: $1 of $2, $3 of $4. One that is not there has done so.
while [ $# -gt 1 ]; do
  if [ -e "$1" ]; then mv -fT -- "$1" "$2" || exit; fi
  shift 2
done
