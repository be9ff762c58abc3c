# shellcheck shell=sh
# FOLDER LIMIT HOSTS CLEAN LEFT DEVICES NAME=VALUE...: the limit is in seconds, CLEAN and LEFT are survey_clean.sh and an
# awk program that tells what objects are left.
folder=$1 limit=$2 hosts=$3 clean=$4 left=$5 devices=$6
shift 6
on() {
    if [ "$1" = localhost ] || [ "$1" = "$(uname -n)" ]; then sh -c "$2"; else ssh -o BatchMode=yes "$1" "$2"; fi
}
drive() { # a UUID has at most 39 bytes, and the name of an OSC is longer
    echo "modprobe obdecho; lctl dl | grep -q ' $1_ecc ' ||
        printf 'attach echo_client %s ecc_UUID\nsetup %s\n' '$1_ecc' '$1' | lctl"
}
tidy() {
    for host in $hosts; do on "$host" "$clean"; done
    [ -s "$folder/survey.detail" ] || return 0
    awk "$left" "$folder/survey.detail" | while read -r host name first count; do
        on "$host" "$(drive "${name%_ecc}"); lctl --device '$name' destroy '$first' '$count'" </dev/null
    done
    for host in $hosts; do on "$host" "$clean"; done
}
tidy </dev/null >/dev/null 2>&1
for host in $hosts; do on "$host" "rm -rf '$folder' && umask 077 && mkdir -p '$folder'" </dev/null || exit; done
for device in $devices; do
    sh -c "$(drive "$device")" </dev/null || { status=$?; tidy </dev/null >/dev/null 2>&1; exit $status; }
done
env "$@" rslt="$folder/survey" timeout -k 30 "$limit" obdfilter-survey </dev/null
status=$?
cp "$folder/survey.detail" . 2>/dev/null
tidy </dev/null >/dev/null 2>&1
for host in $hosts; do on "$host" "rm -rf '$folder'" </dev/null; done
exit $status
