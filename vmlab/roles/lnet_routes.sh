# shellcheck shell=sh
# routes: those that LNet has, three words each: network, gateway, hops.
routes() {
    lnetctl route show --verbose 2>/dev/null |
        awk '/ net: /{net=$NF} / gateway: /{gateway=$NF} / hop: /{print net, gateway, $NF}' | sort
}
