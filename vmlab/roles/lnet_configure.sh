# shellcheck shell=sh
# The module may have been loaded before its options were written, so it is loaded anew. `unconfigure` fails while
# anything uses LNet, and lustre_rmmod while anything is mounted: then nothing is lost.
#
# A router takes the module's options (--all): from 2.16.58 on (LU-15135) a node that is told to forward later, by
# import as well, tells its peers so only after alive_router_check_interval + router_ping_timeout, which are 110 s.
# Where lnetctl was not built, everybody takes the options.
conf=$1 forwards=$2
if [ -d /sys/module/lnet ]; then
    lnetctl lnet unconfigure >/dev/null 2>&1
    lustre_rmmod >/dev/null 2>&1 || {
        echo "LNet is in use with other networks ($(lctl list_nids | tr '\n' ' ')): unmount Lustre first" >&2
        exit 1
    }
fi
modprobe lnet || exit
if ! command -v lnetctl >/dev/null; then
    lctl network up
elif [ "$forwards" = 1 ]; then
    lnetctl lnet configure --all
else
    lnetctl lnet configure && lnetctl import "$conf"
fi
status=$?
[ $status = 0 ] || dmesg | grep LNet | tail -n 5 >&2
exit $status
