# shellcheck shell=sh
# What an earlier run left goes first. iozone waits for ever for a client that cannot begin.
# FOLDER NODE...
folder=$1
shift
rm -rf "$folder" && mkdir -p "$folder" || exit
for node; do
    ssh -o BatchMode=yes -n "$node" "test -d '$folder'" && continue
    echo "$node cannot be asked, or has no $folder" >&2
    exit 1
done
