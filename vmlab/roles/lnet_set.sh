# shellcheck shell=sh
file=$1 text=$2
shift 2
printf "%s" "$text" | cmp -s - "$file" || exit 1
for pair; do
    [ "$(cat "/proc/sys/${pair%%=*}")" = "${pair#*=}" ] || exit 1
done
