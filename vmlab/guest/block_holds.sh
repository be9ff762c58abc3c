# shellcheck shell=sh
# As `check` of block.awk, for blocks that are short, and without a process: $1 file, $2 and $3 the block's first and last
# line, then its lines.
path=$1 begin=$2 end=$3
shift 3
nl='
'
block=$begin$nl
for lines; do block=$block$lines$nl; done
block=$block$end$nl
read -r self </proc/sys/kernel/hostname
set -f
found=
while IFS= read -r line || [ -n "$line" ]; do
  case $found$line in
    "$begin") found=$line$nl ;;
    "$end") exit 1 ;;
    "$begin"*) found=$found$line$nl ;;
  esac
  case $path:$line in
    /etc/hosts:*127.0.1.*)
      # shellcheck disable=SC2086 # its words
      set -- $line
      case $1 in
        127.0.1.*)
          for name; do [ "$name" != "$self" ] || exit 1; done
          ;;
      esac
      ;;
  esac
done <"$path"
[ "$found" = "$block" ]
