# shellcheck shell=sh
# The kernel, the machine, the version of Lustre or an empty line, then the versions of the packages that are given, a line each.
uname -r
uname -m
{ sed -n 's/^lustre: *//p; /^[0-9]/p' /sys/fs/lustre/version /proc/fs/lustre/version 2>/dev/null; echo; } | head -n 1
if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${Package} ${Version}\n' "$@"
elif command -v rpm >/dev/null; then rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE}\n' "$@" | grep -v ' is not installed'
fi 2>/dev/null
exit 0
