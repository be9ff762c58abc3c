# shellcheck shell=sh
# Have the guest's resolver ask the server $1 first. A file that is written anew keeps what resolver(5) knows, but for a
# server that is no address. Written beside and renamed: who is powered off meanwhile has the old file or the new one.
set -e
server=$1 file=/etc/resolv.conf
case $(readlink -f "$file") in
  */systemd/resolve/*)
    if systemctl -q is-active systemd-resolved; then
      mkdir -p /etc/systemd/resolved.conf.d
      printf '[Resolve]\nDNS=%s\n' "$server" >/etc/systemd/resolved.conf.d/vmlab.conf
      sync /etc/systemd/resolved.conf.d/vmlab.conf
      systemctl restart systemd-resolved
      exit
    fi
    ;;
esac
new=/etc/.resolv.conf.vmlab
{
  echo "nameserver $server"
  [ ! -r "$file" ] || awk -v server="$server" '
    $1 == "nameserver" && $2 != server && $2 ~ /^[0-9.]+$|^[0-9a-fA-F]*:[0-9a-fA-F:.]+$/
    $1 ~ /^(search|domain|options|sortlist)$/
    /^[#;]/
  ' "$file"
} >"$new"
chmod 644 "$new"
[ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon "$new" || :
sync "$new"
mv -f "$new" "$file"
