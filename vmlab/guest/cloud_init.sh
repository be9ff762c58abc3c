# shellcheck shell=sh
run=/run/cloud-init
[ ! -e /run/vmlab/first-boot ] || { echo absent; exit; }
[ -d $run ] || command -v cloud-init >/dev/null 2>&1 || { echo absent; exit; }
count=0
until [ -s $run/result.json ]; do
  [ ! -e $run/disabled ] || { echo disabled; exit; }
  count=$((count + 1))
  if [ $((count % 20)) = 0 ] && systemctl is-failed --quiet cloud-final.service 2>/dev/null; then
    [ -s $run/result.json ] || { echo failed; exit; }
  fi
  sleep 0.25
done
echo result
cat $run/result.json
