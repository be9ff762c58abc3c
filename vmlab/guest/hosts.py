"""The names of a bed's nodes in every guest: one marked block of /etc/hosts.

A step over ssh and not part of the seed, so that adding a node leaves the other nodes' seeds as they are.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address

from vmlab.steps import Step

_BEGIN = "# vmlab: begin"
_END = "# vmlab: end"

# The file should be all that is outside our block, and then the block. Lines that call this host by a 127.0.1.x
# address go, too: its name has to mean its own address, or services listen there in vain. Of a begin without an end,
# or the other way round, only that line is ours. One process and no shell: under TCG each costs tens of milliseconds.
_AWK = r"""
BEGIN {
  begin = ARGV[1]; end = ARGV[2]; block = begin "\n" ARGV[3] "\n" end "\n"
  getline self < "/proc/sys/kernel/hostname"
  while ((getline line < "/etc/hosts") > 0) {
    have = have line "\n"
    if (line == begin) { out = out held; held = ""; inside = 1; continue }
    if (line == end) { held = ""; inside = 0; continue }
    count = split(line, words)
    mine = 0
    if (words[1] ~ /^127[.]0[.]1[.]/) for (i = 2; i <= count; i++) if (words[i] == self) mine = 1
    if (mine) continue
    if (inside) held = held line "\n"; else out = out line "\n"
  }
  want = out held block
  if (ARGV[4] == "check") exit (have != want)
  ORS = ""
  print want
}
"""

# Written beside and renamed: a guest that is powered off meanwhile has the old file or the new one.
_APPLY = """
set -e
umask 022
awk "$@" >/etc/.hosts.vmlab
[ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon /etc/.hosts.vmlab || :
sync /etc/.hosts.vmlab
mv -f /etc/.hosts.vmlab /etc/hosts
"""


def hosts_step(addresses: Mapping[str, IPv4Address]) -> Step:
    """All nodes' short names with their management addresses, in the order given."""
    lines = "\n".join(f"{address} {name}" for name, address in addresses.items())
    arguments = (_AWK, _BEGIN, _END, lines)
    return Step("hosts", ("awk", *arguments, "check"), (("sh", "-c", _APPLY, "vmlab", *arguments, "apply"),))
