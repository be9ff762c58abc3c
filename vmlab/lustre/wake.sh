# shellcheck shell=sh
for label; do
    lctl set_param -n "osc.$label-osc-*.idle_connect=1"
done >/dev/null 2>&1
exit 0
