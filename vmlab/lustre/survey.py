"""What a node says of its Lustre in one round trip: LNet, mounts, services, recovery, space, connections."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vmlab.lustre import lnetctl, status
from vmlab.lustre.lnetctl import LocalNi, ShownRoute
from vmlab.lustre.status import Import, Mount, RecoveryStatus
from vmlab.lustre.version import ASK, Version
from vmlab.steps import Command
from vmlab.values.size import Bytes

_MARK = "vmlab section: "
# Nothing here asks another node, so that nothing waits for one that is dead. `lctl` finds no parameter where nothing is
# mounted, and says so: that is no failure.
_SCRIPT = f"""
section() {{ echo; echo "{_MARK}$1"; }}
exec 2>/dev/null
section version; {ASK[2]}
section mounts; grep " lustre" /proc/mounts
section devices; lctl dl
section recovery; lctl get_param "*.*.recovery_status"
section space; lctl get_param "osd-*.*.kbytestotal" "osd-*.*.kbytesfree" "osd-*.*.kbytesavail"
section imports; lctl get_param "osc.*.import" "mdc.*.import"
section nets; lnetctl net show || lctl list_nids
section routes; lnetctl route show --verbose
section routing; lnetctl routing show
exit 0
"""
SURVEY: Command = ("sh", "-c", _SCRIPT)


@dataclass(frozen=True, slots=True)
class TargetSpace:
    """A mounted target's, as its server counts it."""

    total: Bytes
    free: Bytes
    available: Bytes


@dataclass(frozen=True, slots=True)
class Survey:
    """One node. `version` is None where there is no Lustre; `services` run; `space` and `recovery` are by service."""

    version: Version | None = None
    mounts: tuple[Mount, ...] = ()
    services: frozenset[str] = frozenset()
    recovery: Mapping[str, RecoveryStatus] | None = None
    space: Mapping[str, TargetSpace] | None = None
    imports: tuple[Import, ...] = ()
    nis: tuple[LocalNi, ...] = ()
    routes: tuple[ShownRoute, ...] = ()
    forwards: bool = False


def read_survey(text: str) -> Survey:
    """What `SURVEY` printed; a section that is missing or not understood is empty."""
    found = {name.strip(): body for name, _, body in (part.partition("\n") for part in text.split(_MARK)[1:])}

    def section(name: str) -> str:
        return found.get(name, "")

    nets = section("nets")
    return Survey(
        version=Version.parse(section("version")),
        mounts=status.mounts(section("mounts")),
        services=status.started(status.devices(section("devices"))),
        recovery={r.target: r for r in status.recovery(section("recovery"))},
        space=_space(section("space")),
        imports=status.imports(section("imports")),
        # Where lnetctl was not built only the NIDs are known; LNet lists those that are up.
        nis=lnetctl.local_nis(nets) or tuple(LocalNi(nid, up=True, interfaces=()) for nid in lnetctl.nids(nets)),
        routes=lnetctl.routes(section("routes")),
        forwards=lnetctl.forwards(section("routing")),
    )


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
