# shellcheck shell=sh
# $1: the folder that all nodes share; $2: the node that has it. Soft: the node that runs the tests may crash.
mountpoint -q "$1" || { mkdir -p "$1" && mount -t nfs -o soft,timeo=100,retrans=3 "$2:$1" "$1"; }
