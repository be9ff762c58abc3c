# shellcheck shell=sh
# Whoever libvirt is reached as may be another user than root: with sudo all can be done, without it most can be read.
# Messages in English, whole PATH.
PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
export PATH LC_ALL
[ "$(id -u)" -eq 0 ] || ! sudo -n true 2>/dev/null || exec sudo -n -- "$@"
exec "$@"
