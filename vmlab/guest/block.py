"""A marked block of lines in a text file of a guest; the rest of the file is not ours."""

from vmlab.steps import Step

_BEGIN = "# vmlab: begin"
_END = "# vmlab: end"

# The file should be all that is outside our block, and then the block. Of a begin without an end, or the other way
# round, only that line is ours. In /etc/hosts lines that call this host by a 127.0.1.x address go, too: its name has to
# mean its own address, or services listen there in vain. One process: under TCG each costs tens of milliseconds.
_AWK = r"""
BEGIN {
  path = ARGV[1]; begin = ARGV[2]; end = ARGV[3]; block = begin "\n" ARGV[4] "\n" end "\n"
  getline self < "/proc/sys/kernel/hostname"
  while ((getline line < path) > 0) {
    have = have line "\n"
    if (line == begin) { out = out held; held = ""; inside = 1; continue }
    if (line == end) { held = ""; inside = 0; continue }
    count = split(line, words)
    mine = 0
    if (path == "/etc/hosts" && words[1] ~ /^127[.]0[.]1[.]/)
      for (i = 2; i <= count; i++) if (words[i] == self) mine = 1
    if (mine) continue
    if (inside) held = held line "\n"; else out = out line "\n"
  }
  want = out held block
  if (ARGV[5] == "check") exit (have != want)
  ORS = ""
  print want
}
"""

# Written beside and renamed: a guest that is powered off meanwhile has the old file or the new one.
_APPLY = """
set -e
mode=$1
path=$3
new=${path%/*}/.${path##*/}.vmlab
shift
umask 077
awk "$@" >"$new"
chmod "$mode" "$new"
[ ! -x /usr/sbin/restorecon ] || /usr/sbin/restorecon "$new" || :
sync "$new"
mv -f "$new" "$path"
"""


def block_step(name: str, path: str, lines: str, *, mode: str = "644") -> Step:
    """The file ends with the block, and has it once. It is made if it is absent; its folder must be there."""
    words = (_AWK, path, _BEGIN, _END, lines)
    return Step(name, ("awk", *words, "check"), (("sh", "-c", _APPLY, "vmlab", mode, *words, "apply"),))
