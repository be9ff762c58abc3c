# shellcheck shell=sh
# One grep prints PATH:VALUE for each attribute that is not empty and not all zeros (unused GIDs are). Unused entries of
# gid_attrs cannot be read: -s. GID tables have up to 1024 places, filled from the first; the first hundred will do.
cd /sys/class || exit
grep -sHE '[^0:]' infiniband/*/ports/*/state infiniband/*/ports/*/link_layer net/*/dev_port \
    infiniband/*/ports/*/gids/? infiniband/*/ports/*/gid_attrs/types/? \
    infiniband/*/ports/*/gids/?? infiniband/*/ports/*/gid_attrs/types/??
ls -d net/*/device/infiniband/* 2>/dev/null
exit 0
