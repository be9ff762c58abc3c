# shellcheck shell=sh
folder=$1 notes=$2 size=$3
rm -rf "$folder" "$notes"
mkdir -p "$folder" "$notes" || exit
! command -v lfs >/dev/null || lfs setstripe -c 1 "$folder" || exit
number=0
until [ -e "$notes/enough" ]; do
    number=$((number + 1))
    head -c "$size" /dev/urandom >"$notes/data" || break
    sum=$(sha256sum <"$notes/data")
    dd if="$notes/data" of="$folder/$number" bs="$size" conv=fsync status=none || break
    date +%s.%N >>"$notes/times"
    echo "${sum%% *}  $number" >>"$notes/acknowledged"
    sleep 0.05
done 2>"$notes/failed"
touch "$notes/ended"
cat "$notes/failed" >&2
[ -e "$notes/enough" ] && [ ! -s "$notes/failed" ]
