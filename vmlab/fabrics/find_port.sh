# shellcheck shell=sh disable=SC2034
# find_port GUID: the folder in sysfs of the port that has it, as $port. GID 0 is the subnet's prefix and the port's GUID.
find_port() {
    port=$(grep -lsi -e ":$1\$" /sys/class/infiniband/*/ports/*/gids/0 | head -n 1)
    port=${port%/gids/0}
}
