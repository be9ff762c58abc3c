"""A marked block of lines in a text file of a guest; the rest of the file is not ours."""

from collections.abc import Iterator

from vmlab.shell import script
from vmlab.steps import Step

_BEGIN = "# vmlab: begin"
_END = "# vmlab: end"
# The kernel takes no argument of more than 128 KiB (MAX_ARG_STRLEN), and the lines of a large bed are more.
_LONGEST = 64 << 10

# The file should be all that is outside our block, and then the block. Of a begin without an end, or the other way
# round, only that line is ours. In /etc/hosts lines that call this host by a 127.0.1.x address go, too: its name has to
# mean its own address, or services listen there in vain. One process: under TCG each costs tens of milliseconds.
_AWK = r"""
BEGIN {
  mode = ARGV[1]; path = ARGV[2]; begin = ARGV[3]; end = ARGV[4]; block = begin "\n"
  for (i = 5; i < ARGC; i++) block = block ARGV[i] "\n"
  block = block end "\n"
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
  if (mode == "check") exit (have != want)
  ORS = ""
  print want
}
"""

_APPLY = script(__file__, "write_block.sh")


def block_step(name: str, path: str, lines: str, *, mode: str = "644") -> Step:
    """The file ends with the block, and has it once. It is made if it is absent; its folder must be there."""
    words = (path, _BEGIN, _END, *_pieces(lines))
    return Step(name, ("awk", _AWK, "check", *words), (("sh", "-c", _APPLY, "vmlab", mode, _AWK, "apply", *words),))


def _pieces(lines: str) -> Iterator[str]:
    """The lines, put together as far as an argument may hold them."""
    piece: list[str] = []
    length = 0
    for line in lines.split("\n"):
        size = len(line.encode()) + 1
        if piece and length + size > _LONGEST:
            yield "\n".join(piece)
            piece, length = [], 0
        piece.append(line)
        length += size
    yield "\n".join(piece)
