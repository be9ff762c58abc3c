# shellcheck shell=sh
# $1: the folder of logs. What there is comes here: results and logs as they are, their last bytes if they are long; what
# was dumped besides packed, as long as there is room.
logs=$1 most=33554432 room=134217728
rm -f ./*.yml ./*.log ./*.gz
cd "$logs" || exit
for file in *; do
    [ -f "$file" ] || continue
    case $file in
    *.yml | *.suite_log.* | *.test_log.*) tail -c $most "$file" >"$OLDPWD/$file" ;;
    *)
        gzip -c "$file" >"$OLDPWD/$file.gz"
        room=$((room - $(wc -c <"$OLDPWD/$file.gz")))
        [ $room -gt 0 ] || { rm "$OLDPWD/$file.gz"; echo "left out: $file"; }
        ;;
    esac
done
exit 0
