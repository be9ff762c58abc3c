# shellcheck shell=sh
# "Out of memory: Killed process 812 (ior) total-vm:...", or of a cgroup; "Kill process" before Linux 4.19. A kernel
# that prints no times is believed.
out_of_memory() {
  dmesg 2>/dev/null | awk -v since="$1" '
    /[Oo]ut of memory.*Kill(ed)? process/ {
      at = since
      if (match($0, /^\[ *[0-9]+\.[0-9]+\]/)) at = substr($0, 2, RLENGTH - 2)
      if (at + 0 >= since + 0) { sub(/^\[ *[0-9.]+\] */, ""); said = $0 }
    }
    END { if (said != "") print said }'
}
