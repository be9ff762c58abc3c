# shellcheck shell=sh
# Exports a file by QEMU's NBD until it is ended, and returns when it can be reached. $1: the file, $2: the export's
# name, $3: the address, $4: the port. What of the command line counts stands there for who looks (exporters.sh).
set -e
[ -f "$1" ] || { echo "$1 is not there" >&2; exit 1; }
command -v qemu-nbd >/dev/null || { echo "qemu-nbd is not installed (qemu-utils, or qemu-img)" >&2; exit 1; }
# Others on this host have the file itself: nothing may stay in its cache. --fork leaves our session, too.
exec qemu-nbd --fork --persistent --shared=0 --format=raw --cache=none --discard=unmap --description=vmlab \
  --export-name="$2" --bind="$3" --port="$4" -- "$1" </dev/null
