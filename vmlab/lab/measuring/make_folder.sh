# shellcheck shell=sh
# $1: where all runs have their folders; $2: the folder. Whoever made the first before us would read what we write.
umask 077
mkdir -p "$1"
{ [ ! -L "$1" ] && [ -O "$1" ]; } || { echo "$1 is not root's own folder" >&2; exit 1; }
mkdir -p "$2"
