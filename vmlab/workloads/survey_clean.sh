# shellcheck shell=sh
# What the survey sets up has names of its own; Lustre's own OSS is OSS_uuid.
pkill -KILL -f '^([^ ]*/)?lctl .*test_brw'
pkill -f '^vmstat 5$'
lctl dl | sort -k1,1nr | while read -r _ _ type name uuid _; do
    case $type.$name.$uuid in
    echo_client.*_ecc.* | osc.echotmp.* | obdecho.echo_srv.* | ost.OSS.OSS_UUID)
        lctl --device "$name" cleanup
        lctl --device "$name" detach ;;
    esac
done
! [ -d /sys/module/obdecho ] || rmmod obdecho
