# shellcheck shell=sh
# Nothing here asks another node, so that nothing waits for one that is dead. `lctl` finds no parameter where nothing is
# mounted, and says so: that is no failure.
mark=$1 busy=$2 version=$3
section() { echo; echo "$mark$1"; }
exec 2>/dev/null
section version; sh -c "$version"
section mounts; grep " lustre" /proc/mounts
section busy
for file in $(grep -lszE "$busy" /proc/[0-9]*/cmdline); do tr '\0\n' '\1 ' <"$file"; echo; done
section devices; lctl dl
section recovery; lctl get_param "*.*.recovery_status"
section space; lctl get_param "osd-*.*.kbytestotal" "osd-*.*.kbytesfree" "osd-*.*.kbytesavail"
section imports; lctl get_param "osc.*.import" "mdc.*.import"
section active; lctl get_param "osc.*.active" "mdc.*.active" "osp.*.active"
section nets; { lnetctl net show || lctl list_nids; } 2>&1
section routes; lnetctl route show --verbose
section routing; lnetctl routing show
exit 0
