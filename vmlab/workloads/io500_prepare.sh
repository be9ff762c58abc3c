# shellcheck shell=sh
# What an earlier run left goes first. Files of the easy phases lie on one OST each, the hard one's on all.
# FOLDER
rm -rf "$1" && mkdir -p "$1/data/ior-easy" "$1/data/ior-hard" "$1/data/mdtest-easy" "$1/data/mdtest-hard" || exit
command -v lfs >/dev/null || exit 0
lfs setstripe -c 1 "$1/data/ior-easy" "$1/data/mdtest-easy" "$1/data/mdtest-hard" 2>/dev/null
lfs setstripe -c -1 "$1/data/ior-hard" 2>/dev/null
exit 0
