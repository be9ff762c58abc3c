# shellcheck shell=sh
# Is the certificate $1 beside root's identity, which is the host's key? Whoever brought another has seen to the rest.
told=
lines /etc/ssh/ssh_host_ed25519_key || exit 0
own=$told
lines /root/.ssh/id_ed25519 && [ "$told" = "$own" ] || exit 0
lines /root/.ssh/id_ed25519-cert.pub && [ "$told" = "$1
" ]
