# shellcheck shell=sh
# What no tool of Lustre's knows, blkid may; it knows nothing of an empty disk.
[ -z "$2" ] || zpool list -H "$2" >/dev/null 2>&1 ||
    zpool import -N -o cachefile=none -d "${3%/*}" "$2" >/dev/null 2>&1
tunefs.lustre --dryrun "$1" 2>/dev/null && exit
found=$(blkid -p -s TYPE -s PTTYPE -o value "$3")
case $? in 2) ;; *) echo "Holds:" ${found:-something} ;; esac
