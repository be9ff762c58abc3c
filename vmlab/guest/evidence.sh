# shellcheck shell=sh
# evidence.sh WHAT SINCE: what a guest knows of itself, one kind at a time, so that one that hangs holds up no other.
# SINCE is in seconds before now, 0 for all.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
since=$2

has() { command -v "$1" >/dev/null 2>&1; }
need() { has "$1" || { echo "$1 is not installed" >&2; exit 127; }; }

case $1 in
dmesg)
    dmesg -T 2>/dev/null || dmesg
    ;;
crash)
    for text in /var/crash/*/dmesg* /var/crash/*/vmcore-dmesg.txt; do
        [ ! -s "$text" ] || { echo "# $text"; cat "$text"; }
    done
    ;;
journal)
    need journalctl
    if [ "$since" -gt 0 ]; then journalctl --no-pager -o short-iso-precise --since "-${since}s"
    else journalctl --no-pager -o short-iso-precise
    fi
    ;;
tasks)
    # Those that wait for a disk or a lock, by the kernel itself; then all threads; then by the kernel again, which knows
    # more of each, but whose log has no room for many: it then has the last, and nothing of what was there before.
    [ -w /proc/sysrq-trigger ] || { echo "/proc/sysrq-trigger cannot be written to" >&2; exit 1; }
    echo 1 >/proc/sys/kernel/sysrq 2>/dev/null
    echo "# sysrq w"
    before=$(dmesg | wc -l)
    echo w >/proc/sysrq-trigger
    dmesg | tail -n "+$((before + 1))"
    echo "# /proc/*/task/*/stack"
    for task in /proc/[0-9]*/task/*; do
        read -r name 2>/dev/null <"$task/comm" || continue
        echo "${task##*/} $name $(sed -n 's/^State:[[:space:]]*//p' "$task/status" 2>/dev/null)"
        cat "$task/stack" 2>/dev/null
    done
    echo "# sysrq t"
    echo t >/proc/sysrq-trigger
    dmesg
    ;;
lustre-debug)
    need lctl
    lctl debug_kernel
    ;;
lustre)
    need lctl
    lctl dl -t
    lctl get_param -n version
    lctl get_param health_check '*.*.recovery_status' '*.*.import' '*.*.exports.*.uuid' 2>/dev/null
    mount -t lustre,lustre_tgt
    has lfs && { lfs df -h; lfs df -i; lfs check all; }
    ;;
lnet)
    need lnetctl
    for what in "net show -v 4" "route show -v" "peer show -v 4" "stats show" "global show"; do
        echo "# lnetctl $what"
        # shellcheck disable=SC2086
        lnetctl $what
    done
    ;;
network)
    ip -s -d address
    ip route show table all
    ip neighbour
    has ss && ss -tanp
    has rdma && { rdma link; rdma resource show qp; }
    ;;
disks)
    has lsblk && lsblk -o NAME,MAJ:MIN,SIZE,TYPE,FSTYPE,LABEL,MOUNTPOINT,SERIAL
    mount
    df -h
    df -i
    ;;
system)
    uname -a
    cat /etc/os-release /proc/cmdline /proc/loadavg /proc/uptime /proc/meminfo /proc/modules
    has ps && ps -eLo pid,tid,ppid,stat,wchan:32,pcpu,rss,etime,args
    ;;
packages)
    if has dpkg-query; then dpkg-query -W -f '${Package} ${Version} ${Architecture}\n'
    else need rpm; rpm -qa | sort
    fi
    ;;
*)
    echo "unknown: $1" >&2
    exit 2
    ;;
esac
