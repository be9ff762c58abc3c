# shellcheck shell=sh
# $1: where memory is saved, in a folder for each crash. What is being saved has another name; more than 4 GiB stay there.
find "$1" -mindepth 2 -maxdepth 2 -type f \( -name vmcore -o -name "dump.[0-9]*" \) -size -4194304k \
    -printf "%T@ %p\n" 2>/dev/null | sort -n | tail -n 1 | cut -d " " -f 2-
