# shellcheck shell=sh
# Of the folder $1: the bytes that are free, whether copies share blocks ($2 is a file to try that with, $3 its copy), and
# what each further file takes: so many blocks of so many bytes.
cd -- "$1" || exit
df --block-size=1 --output=avail . | tail -n 1
shares=no
if : >"$2" && head -c 4096 /dev/urandom >"$2" && cp --reflink=always -- "$2" "$3" 2>/dev/null; then shares=yes; fi
rm -f -- "$2" "$3"
echo "$shares"
shift 3
[ $# = 0 ] || stat --format='%b %B' -- "$@"
