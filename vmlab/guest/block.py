"""A marked block of lines in a text file of a guest; the rest of the file is not ours."""

from collections.abc import Iterator

from vmlab.shell import script
from vmlab.steps import Step

_BEGIN = "# vmlab: begin"
_END = "# vmlab: end"
# The kernel takes no argument of more than 128 KiB (MAX_ARG_STRLEN), and the lines of a large bed are more.
_LONGEST = 64 << 10
# A shell reads a byte at a time, and awk is a process: for an emulated guest that is 40 ms the first time.
_SHORT = 4 << 10

_AWK = script(__file__, "block.awk")
_SHELL = script(__file__, "block.sh")
_PUT = script(__file__, "put_block.sh")
_APPLY = script(__file__, "write_block.sh") + _PUT


def block_step(name: str, path: str, lines: str, *, mode: int = 0o644) -> Step:
    """The file ends with the block, and has it once. It is made if it is absent; its folder must be there."""
    words = (path, _BEGIN, _END, *_pieces(lines))
    mask = f"{0o777 & ~mode:03o}"
    if len(lines) > _SHORT:
        apply = (("sh", "-c", _APPLY, "vmlab", mask, _AWK, "apply", *words),)
        return Step(name, ("awk", _AWK, "check", *words), apply)
    write = (("sh", "-c", _SHELL + _PUT, "vmlab", mask, *words),)
    return Step(name, ("sh", "-c", _SHELL, "vmlab", "check", *words), write, at_once=True)


def block(lines: str) -> str:
    """The block as the step writes it."""
    return f"{_BEGIN}\n{lines}\n{_END}\n"


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
