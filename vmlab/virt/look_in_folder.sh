# shellcheck shell=sh
# In the folder $1: whether the image $2, which another host has open, has the page that it wrote, and is locked. With $3,
# when that host has let go of it: writes the page of that number (hold_in_folder.sh).
[ -f "$2" ] || fail "a file that another host made there is not there"
if [ -n "${3-}" ]; then
  said=$(io -c "write -q -P $(($3 + 1)) $(($3 * 4096)) 4096" -- "$2")
  [ -z "$said" ] || fail "$said"
  exit
fi
said=$(io -U -r -c "read -q -P 1 0 4096" -- "$2")
[ -z "$said" ] || fail "what another host wrote there is not seen: $said"
case $(io -c quit -- "$2") in
  *lock*) ;;
  "") fail "a lock that another host holds there is not seen" ;;
  *) fail "locks cannot be held there" ;;
esac
