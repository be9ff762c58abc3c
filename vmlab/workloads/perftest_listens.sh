# shellcheck shell=sh
# Whoever listens by rdma_cm is in no list of sockets; but that it is open for it is the last thing before it listens.
# PROGRAM PORT
for process in /proc/[0-9]*; do
    tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qE "^([^ ]*/)?$1 .*-p $2 " || continue
    readlink "$process"/fd/* 2>/dev/null | grep -q '/rdma_cm$' && exit 0
done
exit 1
