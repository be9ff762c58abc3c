r"""`Test-Parameters:` as developers write them below their commits: which bed a session wants, and what it runs.

    Test-Parameters: trivial testlist=sanity,sanityn mdscount=2 mdtcount=4 \
      env=ONLY="17 65",SLOW=yes

Each such line is a session of its own. A backslash at a line's end continues it, quotes keep spaces together, and a
comma in `env` parts variables; what follows one without an equals sign is more of the same value.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vmlab.errors import UsageError
from vmlab.suites.auster import GROUPS, OF_A_SUITE, Part
from vmlab.suites.shape import Shape

_PREFIX = re.compile(r"^\s*test-parameters:", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_COUNTS = {"mdtcount": "mdts", "mdscount": "mds", "ostcount": "osts", "osscount": "oss", "clientcount": "clients"}
_BACKENDS = ("fstype", "filesystemtype", "mdtfilesystemtype", "mdsfilesystemtype", "ostfilesystemtype")
_SWITCHES = ("failover", "standalonemgs", "combinedmdsmgs", "kerberos", "iscsi")
"""`iscsi` asks for disks that partners share, which those of a bed do anyway."""
_IMAGE = re.compile(r"(client|server|mds|oss|mgs)(distro|version|arch|job|buildno|ibstack|extra_install_params)")
_WORDS = frozenset({"trivial", "optional", "fortestonly", "forbuildonly", "forjanitoronly"})
"""Words that say how much a CI system tests besides: nothing to a bed."""
_MOST = 256
"""Of anything."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bed that a session asks for; None is what it does not say.

    `images` are what nodes are to be installed with, by the key: `clientdistro`, `serverversion`.
    """

    mdts: int | None = None
    mds: int | None = None
    osts: int | None = None
    oss: int | None = None
    clients: int | None = None
    backend: str | None = None
    nettype: str | None = None
    pairs: bool = False
    separate_mgs: bool | None = None
    kerberos: bool = False
    images: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """One line. `groups` are of `auster`; `environment` is for it and all suites; `problems` name what is not known."""

    line: str
    wanted: Wanted = Wanted()
    parts: tuple[Part, ...] = ()
    groups: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    auster: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def sessions(text: str) -> tuple[Session, ...]:
    """Those of a commit message; of a text without any such line, each line is one."""
    lines = list(_joined(text))
    marked = [_PREFIX.sub("", line) for line in lines if _PREFIX.match(line)]
    return tuple(_session(line.strip()) for line in marked or lines if line.strip())


def lacking(wanted: Wanted, shape: Shape) -> tuple[str, ...]:
    """What a bed has not of what a session asks for, in words; more than that is no harm."""
    there = {
        "MDTs": (wanted.mdts, shape.mdts),
        "MDS": (wanted.mds, len(set(shape.mdt_hosts))),
        "OSTs": (wanted.osts, shape.osts),
        "OSS": (wanted.oss, len(set(shape.ost_hosts))),
        "clients": (wanted.clients, shape.clients),
    }
    found = [
        f"it asks for {asked} {what}, and the bed has {has}"
        for what, (asked, has) in there.items()
        if asked is not None and asked > has
    ]
    if wanted.backend is not None and wanted.backend != shape.backend:
        found.append(f"it asks for {wanted.backend}, and the bed has {shape.backend}")
    if wanted.pairs and not {"MDT", "OST"} <= shape.pairs:
        found.append("it asks for failover, and not all MDTs and OSTs of the bed have a partner")
    if wanted.separate_mgs is not None and wanted.separate_mgs != shape.separate_mgs:
        found.append(
            f"it asks for an MGS {'apart from' if wanted.separate_mgs else 'on'} MDT0000, and the bed's is not"
        )
    return tuple(found)


def _joined(text: str) -> Iterator[str]:
    """Lines, those that a backslash continues put together."""
    held = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        yield held + line
        held = ""
    if held:
        yield held


def _session(line: str) -> Session:
    reader = _Reader()
    for word in _split(line, str.isspace, reader.problems):
        reader.word(word)
    return reader.session(line)


def _split(text: str, at: Callable[[str], bool], problems: list[str] | None = None) -> Iterator[str]:
    """Parts between what is no part of quotes; quotes and escapes stay."""
    part, quote = "", ""
    chars = iter(text)
    for char in chars:
        if char == "\\" and quote != "'":
            part += char + next(chars, "")
        elif quote:
            part += char
            quote = "" if char == quote else quote
        elif char in "\"'":
            part, quote = part + char, char
        elif at(char):
            yield part
            part = ""
        else:
            part += char
    if quote and problems is not None:
        problems.append(f"a quote ({quote}) has no end")
    yield part


def _bare(text: str) -> str:
    """Without its quotes and escapes."""
    found, quote = "", ""
    chars = iter(text)
    for char in chars:
        if char == "\\" and quote != "'":
            found += next(chars, "")
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        else:
            found += char
    return found


class _Reader:
    """Takes a line's words in their order; a key that comes twice counts as it came last."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._suites: tuple[str, ...] = ()
        self._groups: tuple[str, ...] = ()
        self._environment: dict[str, str] = {}
        self._auster: tuple[str, ...] = ()
        self._counts: dict[str, int] = {}
        self._images: dict[str, str] = {}
        self._backends: dict[str, str] = {}
        self._switches: dict[str, bool] = {}
        self._nettype: str | None = None

    def word(self, word: str) -> None:
        name, equals, raw = word.partition("=")
        key, value = name.lower(), _bare(raw)
        if not word:
            return
        if not equals:
            if key not in _WORDS:
                self.problems.append(f"{_bare(word)!r:.80} is not known")
        elif key in _COUNTS:
            self._count(key, value)
        elif key in _SWITCHES:
            self._switches[key] = value.lower() not in ("false", "no", "0", "")
        elif key in _BACKENDS:
            self._backends[key] = value
        elif _IMAGE.fullmatch(key):
            self._images[key] = value
        else:
            self._other(key, raw, value)

    def _other(self, key: str, raw: str, value: str) -> None:
        match key:
            case "testlist":
                self._suites = tuple(name.removesuffix(".sh") for name in re.split(r"[,\s]+", value) if name)
            case "testgroup":
                self._groups = tuple(filter(None, value.split(",")))
            case "env" | "envdefinitions":
                self._variables(raw)
            case "austeroptions":
                self._auster = tuple(value.split())
            case "nettype":
                self._nettype = value
            case _:
                self.problems.append(f"the key {key!r:.80} is not known")

    def _count(self, key: str, value: str) -> None:
        if value.isascii() and value.isdecimal() and 0 < int(value[:9]) <= _MOST:
            self._counts[_COUNTS[key]] = int(value[:9])
        else:
            self.problems.append(f"{key}={value:.40} is no number of anything (expected 1 to {_MOST})")

    def _variables(self, raw: str) -> None:
        last = ""
        quoted = len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'"
        for part in _split(_bare(raw) if quoted else raw, ",".__eq__):
            name, equals, value = part.partition("=")
            if equals and _VARIABLE.fullmatch(name):
                self._environment[name], last = _bare(value), name
            elif last and part and not equals:
                self._environment[last] = f"{self._environment[last]} {_bare(part)}"
            elif part:
                self.problems.append(f"env: {_bare(part)!r:.80} is no NAME=VALUE")

    def session(self, line: str) -> Session:
        of_suites = {name: tuple(self._environment.pop(name, "").replace(",", " ").split()) for name in OF_A_SUITE}
        suites = self._suites
        for group in self._groups:
            if group in GROUPS:
                suites += GROUPS[group]
            else:
                self.problems.append(f"the group {group!r:.80} is not one of auster's ({', '.join(GROUPS)})")
        wanted = self._wanted()
        return Session(
            line,
            wanted,
            tuple(self._parts(suites, of_suites)),
            self._groups,
            self._environment,
            self._auster,
            tuple(self.problems),
        )

    def _parts(self, suites: Sequence[str], of_suites: Mapping[str, tuple[str, ...]]) -> Iterator[Part]:
        start, stop = (next(iter(of_suites[name]), "") for name in ("START_AT", "STOP_AT"))
        for suite in suites:
            try:
                yield Part(suite, of_suites["ONLY"], of_suites["EXCEPT"], start, stop)
            except UsageError as error:
                self.problems.append(error.message)

    def _wanted(self) -> Wanted:
        backends = dict.fromkeys(self._backends.values())
        if len(backends) > 1:
            self.problems.append(f"several backends in one file system: {', '.join(backends)}")
        separate = True if self._switches.get("standalonemgs") else None
        return Wanted(
            **self._counts,
            backend=next(iter(backends), None),
            nettype=self._nettype,
            pairs=self._switches.get("failover", False),
            separate_mgs=False if self._switches.get("combinedmdsmgs") else separate,
            kerberos=self._switches.get("kerberos", False),
            images=self._images,
        )
