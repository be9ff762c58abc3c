# shellcheck shell=sh
# Says `ready` if the user that we are may open the socket $1, else why not; and stays until whoever asked is gone.
if [ ! -S "$1" ]; then
  echo "no socket is there, or its folder is closed to $(id -un)"
elif [ ! -w "$1" ]; then
  echo "$(id -un) may not open it"
else
  echo ready
  cat >/dev/null
fi
