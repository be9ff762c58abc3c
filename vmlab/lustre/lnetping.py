"""Pings over LNet, each path by itself: the command that a node runs for them, and what it answers.

What LNet chooses for itself proves nothing of a path. A ping of one NID of a Multi-Rail peer goes to whichever of its
NIDs LNet likes best, and is answered although the interface of the one that was named is dead. From 2.15 on
(LU-14939) `lnetctl ping --source` pins both ends. Older ones prove only that the node answers; 2.10 has no more than
`lctl ping`.

No command names the router. LNet takes turns among the equal ones that it holds for up, and counts what it sends to
each, so the script pings until the counters of all have moved: a router works when a ping that went over it, and over
no other, was answered. What is behind the next one is for that router to prove, by the same pings from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmlab.lustre.lnetconf import Path
from vmlab.lustre.version import Version
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.nid import Nid

_ANSWER_S = 10
"""Without a limit LNet waits for up to 200 s where a connection is open and its cable is cut, and cannot be killed."""
_AT_ONCE = 8
_NONE = "-"

PING = script(__file__, "lnetping.sh")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one path over one gateway. `source` and `via` are empty where LNet chose, or needed none."""

    source: str
    nid: str
    via: str
    ok: bool
    said: str = ""


def command(paths: Sequence[Path], version: Version, *, patience_s: int = 0) -> Command:
    """Pings all paths. Exits with 1 if one failed in the end, and names each that did on standard error.

    The paths may well be of several nodes. For `patience_s` it tries again.
    """
    how = _how(version)
    words = dict.fromkeys(",".join((source, nid, *vias)) for source, nid, vias in _asked(paths, version))
    return ("sh", "-c", PING, "vmlab", how, str(patience_s), str(_ANSWER_S), str(_AT_ONCE), *words)


def of_nid(nid: Nid, *, patience_s: int = 0) -> Command:
    """Pings one NID over whatever path LNet takes: of who is no node of ours, nobody knows what leads back."""
    return ("sh", "-c", PING, "vmlab", "lctl", str(patience_s), str(_ANSWER_S), str(_AT_ONCE), f"{_NONE},{nid}")


def limit_s(paths: Sequence[Path]) -> float:
    """How long the command may take without patience, if everything is dead."""
    several = sum(3 * len(path.gateways) for path in paths if len(path.gateways) > 1)
    return _ANSWER_S * (len(paths) // _AT_ONCE + several + 3.0)


def answers(text: str, paths: Sequence[Path], version: Version) -> tuple[Answer, ...]:
    """What `command` printed, in the order of the paths; one that it says nothing of has failed."""
    found = {}
    for line in text.splitlines():
        word, *where, why = (*line.split(" ", 4), *[""] * 5)[:5]
        found[tuple(where)] = (word == "ok", why.strip())
    wanted = dict.fromkeys(
        (source, nid, via) for source, nid, vias in _asked(paths, version) for via in vias or (_NONE,)
    )
    return tuple(
        Answer(source.strip(_NONE), nid, via.strip(_NONE), *found.get((source, nid, via), (False, "no answer")))
        for source, nid, via in wanted
    )


def _how(version: Version) -> str:
    return "source" if version >= (2, 15) else "any" if version >= (2, 11) else "lctl"


def _asked(paths: Sequence[Path], version: Version) -> list[tuple[str, str, tuple[str, ...]]]:
    """Source, NID and gateways of each ping; without a source all paths to a NID are one."""
    if _how(version) == "source":
        return [(str(path.source), str(path.nid), tuple(map(str, path.gateways))) for path in paths]
    gateways: Mapping[str, dict[str, None]] = {str(path.nid): {} for path in paths}
    for path in paths:
        gateways[str(path.nid)].update(dict.fromkeys(map(str, path.gateways)))
    return [(_NONE, nid, tuple(vias)) for nid, vias in gateways.items()]
