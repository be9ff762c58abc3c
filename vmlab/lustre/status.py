"""The state of targets, clients and connections, read from what Lustre's tools print."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vmlab.values.size import Bytes


@dataclass(frozen=True, slots=True)
class RecoveryStatus:
    """A target's recovery. `state` is Lustre's word: INACTIVE, WAITING_FOR_CLIENTS, RECOVERING, COMPLETE ...

    `connected`, `completed` and `expected` count clients; `remaining_s` and `duration_s` are None when not told.
    """

    target: str
    state: str
    connected: int = 0
    completed: int = 0
    expected: int = 0
    evicted: int = 0
    remaining_s: int | None = None
    duration_s: int | None = None

    @property
    def over(self) -> bool:
        """No client waits: it completed, or there was none. WAITING: another target holds it up (MDTs)."""
        return self.state in ("INACTIVE", "COMPLETE")


class Device(NamedTuple):
    """One line of `lctl dl`."""

    up: bool
    kind: str
    name: str


class Space(NamedTuple):
    """One target of `lfs df`, as a client sees it. `problem` is what lfs said in place of figures, else "".

    `flags` are lfs's letters for its state: D degraded, R read-only, S no space, I no inodes.
    """

    target: str
    total: Bytes
    used: Bytes
    available: Bytes
    problem: str = ""
    flags: str = ""

    @property
    def inactive(self) -> bool:
        """It is switched off for this client; it may well run."""
        return self.problem == INACTIVE


@dataclass(frozen=True, slots=True)
class Mount:
    """A Lustre mount of a node: of a target if `service` is told, else of a client.

    Before 2.12 the kernel does not tell the service.
    """

    source: str
    point: str
    kind: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        """`MGS`, `lustre-OST0000`; "" for a client."""
        return self.options.get("svname", "")

    @property
    def client_of(self) -> str:
        """The fsname of a client's mount; "" for a target."""
        _, slash, fsname = self.source.rpartition(":/")
        return fsname if slash and not self.service else ""


@dataclass(frozen=True, slots=True)
class Import:
    """A client's connection to a target. `state`: FULL is well, IDLE rests; others are on their way or broken.

    INACTIVE is vmlab's word for one that an administrator switched off, whatever state its import is in.
    """

    name: str
    target: str
    state: str
    connection: str
    failover_nids: tuple[str, ...] = ()

    @property
    def of_server(self) -> bool:
        """An MDT's own connection to another target, which its server lists with those of its clients."""
        return _OF_MDT.search(self.name) is not None

    @property
    def well(self) -> bool:
        """Requests get through; an idle connection comes back with the first one."""
        return self.state in ("FULL", "IDLE")


_OF_MDT = re.compile(r"-(?:osc|osp|mdc)-MDT[0-9a-f]{4}$")
_VALUE = re.compile(r"([a-z_]+): *(\S.*)")


def recovery(text: str) -> tuple[RecoveryStatus, ...]:
    """`lctl get_param *.*.recovery_status`, targets in their order."""
    return tuple(_recovery(target, values) for target, values in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    target, values = "", dict[str, str]()
    for line in text.splitlines():
        parameter, equals, rest = line.partition(".recovery_status=")
        if equals:
            if values:
                yield target, values
            target, values = parameter.rpartition(".")[2], {}
            line = rest  # noqa: PLW2901 (a short status stands on the parameter's own line)
        if found := _VALUE.fullmatch(line.rstrip()):
            values[found[1]] = found[2]
    if values:
        yield target, values


def _recovery(target: str, values: Mapping[str, str]) -> RecoveryStatus:
    connected, expected = _of(values.get("connected_clients", ""))
    completed, all_completed = _of(values.get("completed_clients", ""))
    # When it is over, no line tells who was evicted: whoever is missing was (lprocfs_recovery_status_seq_show).
    missing = all_completed - completed
    return RecoveryStatus(
        target=target,
        state=values.get("status", "UNKNOWN"),
        connected=connected or completed,
        completed=completed,
        expected=max(expected, all_completed),
        evicted=max(missing, _of(values.get("evicted_clients", ""))[0]),
        remaining_s=_seconds(values.get("time_remaining")),
        duration_s=_seconds(values.get("recovery_duration")),
    )


_DEVICE = re.compile(r"^ *\d+ (UP|AT|IN|ST|--|\S{2}) (\S+) (\S+) \S+ \d+", re.MULTILINE)


def devices(text: str) -> tuple[Device, ...]:
    """`lctl dl`, with -t or without."""
    return tuple(Device(state == "UP", kind, name) for state, kind, name in _DEVICE.findall(text))


def started(found: Iterable[Device]) -> frozenset[str]:
    """The services that run: `MGS`, `lustre-MDT0000`, `lustre-OST0000`."""
    return frozenset(device.name for device in found if device.up and device.kind in ("mgs", "mdt", "obdfilter"))


INACTIVE = "inactive device"
"""What lfs says in place of figures of a target that an administrator has switched off for this client."""

_HEADER = re.compile(r"UUID +(?P<unit>\S+)")
_IN_KIB = "1K-blocks"
_TARGET = re.compile(
    r"(?P<target>(?:\S+-)?(?:OST|MDT)[0-9a-f]{4})(?:_UUID)? *(?:"
    r" (?P<total>\d{1,18}) +(?P<used>\d{1,18}) +(?P<available>\d{1,18})(?: .*?(?:\[...:\d+\] *(?P<flags>\S*) *)?)?|"
    r": *(?P<problem>\S.*?) *)"
)
_KIB = 1024


def space(text: str) -> tuple[Space, ...]:
    """`lfs df`, which counts in KiB: every target that is told, also what is inactive or does not answer.

    Other tables are passed over: -h, whose figures are rounded, and -i, which counts inodes. Of a target that never
    answered lfs knows no more than `OST0003`.
    """
    found, unit = [], _IN_KIB
    for line in text.splitlines():
        if header := _HEADER.match(line):
            unit = header["unit"]
        elif unit == _IN_KIB and (one := _TARGET.fullmatch(line)) is not None:
            total, used, available = (Bytes(int(one[name] or 0) * _KIB) for name in ("total", "used", "available"))
            found.append(Space(one["target"], total, used, available, one["problem"] or "", one["flags"] or ""))
    return tuple(found)


_MOUNT = re.compile(r"^(?P<source>\S+) (?:on )?(?P<point>/\S*) (?:type )?(?P<kind>lustre\w*) \(?(?P<options>[^\s)]*)")


def mounts(text: str) -> tuple[Mount, ...]:
    """The Lustre mounts of /proc/mounts, or of what `mount` prints."""
    return tuple(
        Mount(found["source"], found["point"], found["kind"], _options(found["options"]))
        for line in text.splitlines()
        if (found := _MOUNT.match(line)) is not None
    )


def imports(text: str, active: str = "") -> tuple[Import, ...]:
    """`lctl get_param osc.*.import mdc.*.import`; `active` is what the same parameters named so say.

    Nearly YAML, but not in all versions; five fields are wanted, each on a line of its own.
    """
    off = inactive(active)
    found = []
    for block in re.split(r"^[\w.@:-]+\.import=\s*$", text, flags=re.MULTILINE)[1:]:
        values = dict(_FIELD.findall(block))
        if "state" in values:
            name = values.get("name", "")
            found.append(
                Import(
                    name,
                    values.get("target", "").removesuffix("_UUID"),
                    "INACTIVE" if name in off else values["state"],
                    values.get("current_connection", "").strip('"'),
                    tuple(re.findall(r"[^\s\[\],\"]+", values.get("failover_nids", ""))),
                )
            )
    return tuple(found)


def inactive(text: str) -> frozenset[str]:
    """`lctl get_param osc.*.active mdc.*.active osp.*.active`: the names of connections that are switched off."""
    return frozenset(_ACTIVE.findall(text))


def target_of(connection: str) -> str:
    """`lustre-OST0000` of `lustre-OST0000-osc-MDT0000`: whose connection is of this name."""
    return re.sub(r"-(?:osc|osp|mdc)-[^-]+$", "", connection)


_ACTIVE = re.compile(r"^(?:osc|mdc|osp)\.([\w.-]+)\.active=0$", re.MULTILINE)
_FIELD = re.compile(r"^ +(name|target|state|current_connection|failover_nids): *(\S.*?) *$", re.MULTILINE)


def _options(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (option.partition("=") for option in text.split(","))}


def _of(text: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,9})(?:/(\d{1,9}))?", text)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _seconds(text: str | None) -> int | None:
    found = re.match(r"\d{1,9}", text or "")
    return int(found[0]) if found else None
