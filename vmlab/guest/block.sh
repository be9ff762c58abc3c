# shellcheck shell=sh
# As block.awk, for blocks that are short, and without a process but those that put the file in its place. $1: `check`, or
# the umask of the file that is written. $2: the file, $3 and $4 the block's first and last line, then its lines.
mode=$1 path=$2 begin=$3 end=$4
shift 4
nl='
'
block=$begin$nl
for lines; do block=$block$lines$nl; done
block=$block$end$nl
read -r self </proc/sys/kernel/hostname
set -f
have='' out='' held='' inside=''
take() {
  while IFS= read -r line || [ -n "$line" ]; do
    have=$have$line$nl
    case $line in
      "$begin") out=$out$held held='' inside=1 && continue ;;
      "$end") held='' inside='' && continue ;;
    esac
    case $path:$line in
      /etc/hosts:*127.0.1.*)
        # shellcheck disable=SC2086 # its words
        mine $line && continue
        ;;
    esac
    if [ -n "$inside" ]; then held=$held$line$nl; else out=$out$line$nl; fi
  done <"$path"
}
mine() {
  case $1 in
    127.0.1.*) ;;
    *) return 1 ;;
  esac
  shift
  for name; do
    [ "$name" != "$self" ] || return 0
  done
  return 1
}
[ ! -e "$path" ] || take
if [ "$mode" = check ]; then
  [ "$have" = "$out$held$block" ]
  exit
fi
set -e
new=${path%/*}/.${path##*/}.vmlab
umask "$mode"
printf %s "$out$held$block" >"$new"
