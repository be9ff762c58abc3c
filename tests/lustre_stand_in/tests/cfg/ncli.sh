# shellcheck shell=bash
export MOUNT=${MOUNT:-/mnt/lustre}
