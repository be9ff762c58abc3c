# shellcheck shell=sh
# An MDT's directories carry FIDs beside their names, which only Lustre's e2fsprogs know of: `dirdata`. mkfs.lustre says
# no more than that mke2fs failed. Lustre may have been built to bring programs of its own, mkfs.ldiskfs and so on.
patched() {
    command -v mkfs.ldiskfs >/dev/null && return
    file=$(mktemp) || return
    said=$(mke2fs -q -n -F -O dirdata "$file" 1024 2>&1)
    rm -f "$file"
    case $said in *"Invalid filesystem option set"*) ;; *) return ;; esac
    version=$(mke2fs -V 2>&1 | sed -n 's/^mke2fs \([^ ]*\).*/\1/p')
    echo "the guest's mke2fs does not know dirdata: its e2fsprogs ($version) are without Lustre's patches, and $1 is"         "not formatted" >&2
    exit 1
}
