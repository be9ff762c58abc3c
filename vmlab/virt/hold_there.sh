# shellcheck shell=sh
# Holds a lock of vmlab's on this machine as vmlab itself does here, and as long as somebody writes lines to us.
# $1: the folder, $2: the file's name, $3: flock's option, -x or -s, $4: what to say of the owner, $5: seconds between lines,
# $6: what libvirt calls the machine that is meant, "" where ssh leads as libvirt's own way does.
# Hears a line and tries: `held`, or `busy` and what the owner has said, when another line has it try again; or `no` and why.
trap '' HUP PIPE # whoever asked may be gone by now: what we made goes then, too
umask 022
read -r _ || exit
own=$(uname -n)
if [ -n "$6" ] && [ "$6" != "$own" ] && ! getent ahosts "$own" | tr -s '[:blank:]' '\n' | grep -qxF -- "$6"; then
  echo "no libvirt is on the machine $6, and ssh leads to $own"
  exit
fi
mkdir -p "${1%/*}" 2>/dev/null
mkdir -m 1777 "$1" 2>/dev/null
[ ! -L "$1" ] && [ -d "$1" ] && cd "$1" || { echo "no $1 is no folder"; exit; }
tries=0
while [ $tries -lt 50 ]; do
  tries=$((tries + 1))
  # With O_CREAT the kernel refuses another user's file in a sticky folder.
  [ -e "$2" ] || [ -L "$2" ] || (umask 0111 && set -C && : > "$2") 2>/dev/null
  [ ! -L "$2" ] && [ -f "$2" ] || { echo "no $1/$2 is no lock"; exit; }
  exec 9< "$2" || { echo "no $1/$2 cannot be read"; exit; }
  if ! flock -n "$3" 9; then
    echo "busy $(head -c 8000 "$2" | tr '\n' ' ')"
    exec 9<&-
    read -r _ || exit
    tries=0
    continue
  fi
  # Who held it before removes it: then it is another one that counts.
  if [ "$(stat -c %d:%i:1 -- "$2" 2>/dev/null)" = "$(stat -L -c %d:%i:%h /proc/self/fd/9)" ]; then
    printf %s "$4" 2>/dev/null > "/proc/$$/fd/9"
    echo held
    # A machine that is cut off says no more that it has ended.
    while timeout "$5" sh -c 'read -r line'; do :; done
    [ "$3" = -s ] && ! flock -n -x 9 || rm -f -- "$2"
    exit
  fi
  exec 9<&-
  sleep 0.1
done
echo "no $1/$2 is not to be had"
