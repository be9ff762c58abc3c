# shellcheck shell=sh
# What exports disks of vmlab's on this machine, which is told by its command line; other namespaces' are a container's.
mine=$(readlink /proc/self/ns/mnt)
# A line for each: its PID, the export's name, the address, the port.
exporters() {
  for process in /proc/[0-9]*; do
    read -r program 2>/dev/null <"$process/comm" && [ "$program" = qemu-nbd ] || continue
    where=$(readlink "$process/ns/mnt") # which only its own user and root may see: what is not known is taken for ours
    [ "${where:-$mine}" = "$mine" ] || continue
    tr '\0' '\n' 2>/dev/null <"$process/cmdline" | awk -v pid="${process#/proc/}" '
      $0 == "--description=vmlab" { ours = 1 }
      sub(/^--export-name=/, "") { name = $0 }
      sub(/^--bind=/, "") { address = $0 }
      sub(/^--port=/, "") { port = $0 }
      END { if (ours && name && address && port) print pid, name, address, port }'
  done
}
