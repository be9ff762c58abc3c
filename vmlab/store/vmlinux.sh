# shellcheck shell=sh
# $1: a debug package; $2: the file that is wanted of it; $3: where it goes. Nothing else is unpacked: it may be 7 GB.
case $1 in
*.deb) dpkg-deb --fsys-tarfile "$1" | tar -x --occurrence=1 -O -f - "$2" >"$3" ;;
*) rpm2cpio "$1" | cpio -i --quiet --to-stdout "$2" >"$3" ;;
esac
status=$?
[ $status = 0 ] && [ ! -s "$3" ] && { echo "it is not in there" >&2; exit 1; }
exit $status
