# shellcheck shell=sh
# Does sshd show the certificate $1? A guest with another ssh server than OpenSSH's is left without.
certificate=/etc/ssh/ssh_host_ed25519_key-cert.pub
told=
command -v sshd >/dev/null || exit 0
lines $certificate && [ "$told" = "$1
" ] || exit
told=
for config in /etc/ssh/sshd_config.d/00-vmlab.conf /etc/ssh/sshd_config; do
  [ ! -r $config ] || lines $config
  case "
$told" in
    *"
HostCertificate $certificate
"*) exit 0 ;;
  esac
done
exit 1
