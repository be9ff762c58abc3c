# shellcheck shell=sh
folder=$1 notes=$2
drop_caches "$folder"
cd "$folder" || exit
sha256sum -c "$notes/acknowledged" 2>/dev/null | sed -n '/: OK$/d; s/:.*//; s/^/lost /p'
sed 's/^/at /' "$notes/times"
{
    awk '{ print $2 }' "$notes/acknowledged" | xargs lfs getstripe -i | sort -n | uniq | sed 's/^/OST /'
    lfs getdirstripe -i "$folder" | sed 's/^/MDT /'
    df -P "$folder" | sed -n 's,^[^ ]*:/\([^ /]*\) .*,filesystem \1,p'
} 2>/dev/null
cd / && rm -rf "$folder" "$notes"
rmdir "${folder%/*}" 2>/dev/null
echo verified
