"""Text of guests, images, files and hosts, for a terminal, and what came from one."""

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: titles
    r"|\x1b[P^_].*?\x1b\\"  # DCS, PM, APC
    r"|\x1b[ -/]*[0-~]"  # two-byte ones
    r"|[\x00-\x08\x0b-\x1f\x7f]",
    re.DOTALL,
)


def printable(text: str) -> str:
    """Such text steers no terminal: what is neither printable nor a line's end or a tab is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same, without the ends of lines."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def plain(text: str) -> str:
    """Without terminal escapes and control characters; a line that was drawn over counts as several."""
    return _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
