"""What a node says of its Lustre in one round trip: LNet, mounts, services, recovery, space, connections."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from vmlab.lustre import lnetctl, status
from vmlab.lustre.lnetctl import LocalNi, ShownRoute
from vmlab.lustre.status import Import, Mount, RecoveryStatus
from vmlab.lustre.version import ASK, Version
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.size import Bytes

_MARK = "vmlab section: "
# Words of command lines: what mounts, unmounts or formats a target is at it for as long as its process lives.
_BUSY = "^([^ ]*/)?(u?mount|mount[.]lustre(_tgt)?|mkfs[.]lustre|zpool)$"
SURVEY: Command = ("sh", "-c", script(__file__, "survey.sh"), "vmlab", _MARK, _BUSY, ASK[2])


class Busy(NamedTuple):
    """A command that is under way on a node: "mounting", "unmounting" or "formatting", and the words it was given."""

    state: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetSpace:
    """A mounted target's, as its server counts it."""

    total: Bytes
    free: Bytes
    available: Bytes


@dataclass(frozen=True, slots=True)
class Survey:
    """One node. `version` is None where there is no Lustre; `services` run; `space` and `recovery` are by service.

    `busy` is what is under way: until then /proc/mounts says nothing of a mount that waits for MMP or for the MGS, and
    nothing any more of an unmount that still writes. `inactive` are targets that are switched off for this node, a
    client or an MDS. `lnet` says why there is no LNet, "" where there is.
    """

    version: Version | None = None
    mounts: tuple[Mount, ...] = ()
    busy: tuple[Busy, ...] = ()
    services: frozenset[str] = frozenset()
    recovery: Mapping[str, RecoveryStatus] | None = None
    space: Mapping[str, TargetSpace] | None = None
    imports: tuple[Import, ...] = ()
    inactive: frozenset[str] = frozenset()
    nis: tuple[LocalNi, ...] = ()
    routes: tuple[ShownRoute, ...] = ()
    forwards: bool = False
    lnet: str = ""


def read_survey(text: str) -> Survey:
    """What `SURVEY` printed; a section that is missing or not understood is empty."""
    found = {name.strip(): body for name, _, body in (part.partition("\n") for part in text.split(_MARK)[1:])}

    def section(name: str) -> str:
        return found.get(name, "")

    nets = section("nets")
    return Survey(
        version=Version.parse(section("version")),
        mounts=status.mounts(section("mounts")),
        busy=tuple(_busy(section("busy"))),
        services=status.started(status.devices(section("devices"))),
        recovery={r.target: r for r in status.recovery(section("recovery"))},
        space=_space(section("space")),
        imports=status.imports(section("imports"), section("active")),
        inactive=frozenset(status.target_of(name) for name in status.inactive(section("active"))),
        # Where lnetctl was not built only the NIDs are known; LNet lists those that are up.
        nis=lnetctl.local_nis(nets) or tuple(LocalNi(nid, up=True, interfaces=()) for nid in lnetctl.nids(nets)),
        routes=lnetctl.routes(section("routes")),
        forwards=lnetctl.forwards(section("routing")),
        lnet=_no_lnet(nets),
    )


def _no_lnet(said: str) -> str:
    if lnetctl.not_loaded(said):
        return "LNet is not loaded"
    return "LNet is loaded and has no network" if lnetctl.not_configured(said) else ""


_END = "\1"  # of a word, in place of the kernel's NUL
_STATES = {"mount.lustre": "mounting", "mount.lustre_tgt": "mounting", "mkfs.lustre": "formatting"}


def _busy(text: str) -> Iterator[Busy]:
    """Of command lines, a line each, those that do something to a target or a client's mount."""
    for line in text.split("\n"):
        program, *words = line.removesuffix(_END).split(_END)
        match program.rpartition("/")[2], words:
            case "umount", _:
                yield Busy("unmounting", tuple(words))
            case "mount", ["-t", str(kind), *_] if kind.startswith("lustre"):
                yield Busy("mounting", tuple(words))
            case "zpool", ["import", *_]:  # what precedes the mount, and waits where another host has the pool
                yield Busy("mounting", tuple(words))
            case name, _ if name in _STATES:
                yield Busy(_STATES[name], tuple(words))


_SPACE = re.compile(r"^osd-\w+\.(?P<service>[\w-]+)\.kbytes(?P<what>total|free|avail)=(?P<kib>\d{1,18})$", re.MULTILINE)
_KIB = 1024


def _space(text: str) -> dict[str, TargetSpace]:
    figures: dict[str, dict[str, Bytes]] = {}
    for found in _SPACE.finditer(text):
        figures.setdefault(found["service"], {})[found["what"]] = Bytes(int(found["kib"]) * _KIB)
    return {
        service: TargetSpace(known["total"], known["free"], known["avail"])
        for service, known in figures.items()
        if len(known) == len(("total", "free", "avail"))
    }
