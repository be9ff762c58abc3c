# shellcheck shell=sh
# The processes that keep a mount busy, by folder, open file or mapping. (fuser, which tells as much, is in few images.)
who_uses() {
    for process in /proc/[0-9]*; do
        {
            readlink "$process/cwd" "$process/root" "$process"/fd/*
            sed -n 's,^[^/]*\(/.*\),\1,p' "$process/maps"
        } 2>/dev/null | awk -v at="$1" '$0 == at || index($0, at "/") == 1 { found = 1; exit } END { exit !found }' &&
            echo "${process#/proc/} $(tr '\0' ' ' <"$process/cmdline")"
    done
}
