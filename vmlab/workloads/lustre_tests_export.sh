# shellcheck shell=sh
# $1: the folder that all nodes share, exported to the nodes that follow.
shared=$1
shift
mkdir -p "$shared" && chmod 1777 "$shared" || exit
systemctl start nfs-server || exit
for node; do
    exportfs -o rw,async,no_root_squash,no_subtree_check,insecure "$node:$shared" || exit
done
