# shellcheck shell=sh
# What a host is, and where its memory is: of QEMUs, too, whose domains are named from $2 on. $1: where libvirt has their
# process numbers. Read by inventory/running.py.
sed -n 's/^model name[[:space:]]*: /cpu /p' /proc/cpuinfo | head -n 1
echo "cpus $(getconf _NPROCESSORS_ONLN)"
sed -n 's/^MemTotal: *\([0-9]*\) kB/memory \1/p' /proc/meminfo
echo "kernel $(uname -r)"
for hca in /sys/class/infiniband/*; do
    [ -e "$hca/node_type" ] || continue
    echo "hca ${hca##*/} $(cat "$hca/board_id" 2>/dev/null) firmware $(cat "$hca/fw_ver" 2>/dev/null)," \
        "$(cat "$hca"/ports/1/rate 2>/dev/null)"
done
for cell in /sys/devices/system/node/node[0-9]*; do
    [ -r "$cell/numastat" ] || continue
    number=${cell##*/node}
    echo "cell $number cpus $(cat "$cell/cpulist")"
    sed "s/^/cell $number /" "$cell/numastat"
done
numbers=$1
shift
for domain do
    [ -r "$numbers/$domain.pid" ] || continue
    awk -v domain="$domain" '
        {
            page = 4
            for (i = 2; i <= NF; i++) if ($i ~ /^kernelpagesize_kB=/) page = substr($i, 19)
            for (i = 2; i <= NF; i++) if ($i ~ /^N[0-9]+=/) {
                split(substr($i, 2), of, "=")
                kib[of[1]] += of[2] * page
            }
        }
        END { for (cell in kib) printf "domain %s %d %d\n", domain, cell, kib[cell] }
    ' "/proc/$(cat "$numbers/$domain.pid")/numa_maps" 2>/dev/null
done
exit 0
