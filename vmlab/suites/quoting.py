"""Words as bash quotes them (`printf %q`), read back."""

import re

_PLAIN = re.compile(r"\\(.)", re.DOTALL)
_ANSI = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hex>[0-9A-Fa-f]{1,2})|u(?P<short>[0-9A-Fa-f]{1,4})|U(?P<long>[0-9A-Fa-f]{1,8})"
    r"|c(?P<control>.)|(?P<one>.))",
    re.DOTALL,
)
_ONE = {"a": 7, "b": 8, "e": 27, "E": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_HIGHEST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def unquoted(word: str) -> str:
    r"""The text that `printf %q` made this of: `a\ b` or `$'a\nb'`. Bytes that are no UTF-8 become U+FFFD."""
    if word.startswith("$'"):
        return _ansi(word[2:].removesuffix("'"))
    if word == "''":
        return ""
    return _PLAIN.sub(r"\1", word)


def _ansi(text: str) -> str:
    found = bytearray()
    end = 0
    for match in _ANSI.finditer(text):
        found += _bytes(text[end : match.start()])
        found += _escape(match)
        end = match.end()
    found += _bytes(text[end:])
    return found.decode(errors="replace")


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _escape(match: re.Match[str]) -> bytes:
    groups = match.groupdict()
    if groups["octal"]:
        return bytes((int(groups["octal"], 8) & 0xFF,))
    if groups["hex"]:
        return bytes((int(groups["hex"], 16),))
    if code := groups["short"] or groups["long"]:
        number = int(code, 16)
        return _bytes(chr(number) if number <= _HIGHEST and number not in _SURROGATES else "\ufffd")
    if groups["control"]:
        return bytes((ord(groups["control"]) & 0x1F,))
    one = groups["one"]
    return bytes((_ONE[one],)) if one in _ONE else _bytes(one)
