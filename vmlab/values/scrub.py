"""Texts that others will read, without the secrets that may be in them."""

import re

_GONE = "[removed]"
_KEYS = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
# As programs log them, and as they stand in configuration, XML attributes and JSON.
_WORDS = re.compile(
    r"""(?ix) (\b [\w.-]* (?: passw(?:or)?d | passphrase | secret | api_?key | (?:access|auth|bearer)_?token )
    ["']? \s* [=:] \s* ["']?) (?! \s) [^\s"'<>,;]+""",
)
_BEARER = re.compile(r"(?i)(\bauthorization:\s*\w+\s+)\S+")
_URLS = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]+:)[^\s/@]+(?=@)")


def scrubbed(text: str) -> str:
    """Without private keys, and without values that stand behind words such as `password=`."""
    text = _KEYS.sub(lambda found: f"-----BEGIN {found[1]}----- {_GONE}", text)
    for pattern in (_WORDS, _BEARER, _URLS):
        text = pattern.sub(rf"\1{_GONE}", text)
    return text
