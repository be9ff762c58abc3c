"""Text of guests, images, files and hosts, for a terminal."""


def printable(text: str) -> str:
    """Such text steers no terminal: what is neither printable nor a line's end or a tab is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same, without the ends of lines."""
    return printable(text).replace("\n", " ").replace("\t", " ")
