"""What lnetctl and lctl print about LNet, read into values.

lnetctl speaks YAML, in two dialects: 2.17 answers from netlink, older ones from ioctls. Its errors are YAML too, on
standard error, several documents in a row; lines of its netlink library, which are no YAML, may stand between them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vmlab.values.nid import Nid


@dataclass(frozen=True, slots=True)
class LocalNi:
    """An LNet interface of the node itself. `health` is 0 to 1000, None where it was not printed."""

    nid: Nid
    up: bool
    interfaces: tuple[str, ...]
    health: int | None = None


@dataclass(frozen=True, slots=True)
class ShownRoute:
    """`hops` is -1 and `up` None unless lnetctl was asked with -v."""

    net: str
    gateway: Nid
    hops: int = -1
    up: bool | None = None


@dataclass(frozen=True, slots=True)
class LnetError:
    """`number` is positive: 100 is ENETDOWN. `what` is the kind of object: `net`, `route`, `import`, `ping`."""

    action: str
    what: str
    number: int
    text: str


def local_nis(text: str) -> tuple[LocalNi, ...]:
    """`lnetctl net show` or `export`, verbose or not; without the loopback."""
    return tuple(
        LocalNi(nid, ni.get("status") == "up", _names(ni.get("interfaces")), _health(ni))
        for net in _list(text, "net")
        for ni in _mappings(net.get("local NI(s)"))
        if (nid := _nid(ni.get("nid"))) is not None
    )


def routes(text: str) -> tuple[ShownRoute, ...]:
    """`lnetctl route show`, with -v or without."""
    return tuple(
        ShownRoute(str(route.get("net")), gateway, _int(route.get("hop"), -1), _up(route.get("state")))
        for route in _list(text, "route")
        if (gateway := _nid(route.get("gateway"))) is not None
    )


def forwards(text: str) -> bool:
    """`lnetctl routing show` or `export`: whether the node forwards."""
    content = _content(text).get("routing")
    entries = [content] if isinstance(content, dict) else _mappings(content)
    return any(entry.get("enable") == 1 for entry in entries)


def settings(text: str) -> dict[str, int]:
    """`lnetctl global show`."""
    content = _content(text).get("global")
    return {str(k): v for k, v in content.items() if isinstance(v, int)} if isinstance(content, dict) else {}


def nids(text: str) -> tuple[Nid, ...]:
    """`lctl list_nids`; without the loopback."""
    return tuple(nid for line in text.splitlines() if (nid := _nid(line.strip())) is not None)


def errors(text: str) -> tuple[LnetError, ...]:
    """All that lnetctl complained of; the status of the process says much less."""
    return tuple(_errors(text))


NOT_LOADED = (
    r"failed to resolve Netlink family id|the kernel modules may not be loaded|opening /dev/lnet failed|"
    r"LNET is currently not loaded"
)
# What asks LNet itself. A ping says the same of the way to another node, iproute2 of an interface.
NOT_CONFIGURED = (
    r"LNet stack down|IOC_LIBCFS_GET_NI error 100\b|"
    r"(?m:^(?!.*(?:failed to (?:ping|discover)|RTNETLINK|SIOC|ssh:|connect)).*\bNetwork is down)"
)
_NOT_LOADED = re.compile(NOT_LOADED)
_NOT_CONFIGURED = re.compile(NOT_CONFIGURED)


def not_loaded(text: str) -> bool:
    """What was printed says that the kernel has no LNet."""
    return _NOT_LOADED.search(text) is not None


def not_configured(text: str) -> bool:
    """The module is there, and LNet has no networks."""
    return not not_loaded(text) and _NOT_CONFIGURED.search(text) is not None


# errno as the kernel means it for that object: lnet/utils of 2.17.57, and what was seen.
_MEANINGS = {
    ("net", 100): "the interface is unknown or down, or (o2ib) has no RDMA device behind it",
    ("net", 17): "the network is there already",
    ("net", 2): "LNet does not understand the network's name",
    ("net", 22): "there is no such network",
    ("import", 42): "the configuration names an interface that the guest does not have",
    ("import", 22): "LNet refused the configuration",
    ("route", 17): "the route is there already",
    ("route", 113): "the gateway is on no network of this node",
    ("ping", 113): "no answer: the node is down, its LNet is not configured, or a router on the way is",
    ("ping", 110): "no answer in time: the network loses messages, or the node is overloaded",
    ("ping", 100): "the network is down on this node or on that one",
}


def meaning(error: LnetError) -> str:
    """In one line: what lnetctl said and what it means."""
    known = _MEANINGS.get((error.what, error.number), "")
    means = "LNet is loaded and has no network" if not_configured(error.text) else known
    return f"{error.text} (errno {error.number}{': ' + means if means else ''})"


def _errors(text: str) -> Iterator[LnetError]:
    # Of `- ping:` in 2.17 the errno stands beside the word, not below it.
    for document in _documents(text):
        for action, entries in document.items():
            for entry in _mappings(entries):
                for what, below in entry.items():
                    found = below if isinstance(below, dict) else entry
                    number = found.get("errno")
                    if isinstance(number, int) and number and what not in ("errno", "descr"):
                        yield LnetError(str(action), str(what), abs(number), str(found.get("descr", "")).strip('"'))


_DOCUMENT = re.compile(r"^(?:---|\.\.\.)\s*$", re.MULTILINE)
_YAML_LINE = re.compile(r"\s*(?:- .*|-\s+.*|[\w() -]+:(?: .*)?)\s*")


def _documents(text: str) -> Iterator[dict[str, Any]]:
    for part in _DOCUMENT.split(text):
        lines = [line for line in part.splitlines() if _YAML_LINE.fullmatch(line) and not _is_noise(line)]
        try:
            content = yaml.safe_load("\n".join(lines).replace("descr: ! ", "descr: "))
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


def _is_noise(line: str) -> bool:
    return line.startswith(("Reader error", "Writer error", "hint:", "IOC_"))


def _content(text: str) -> dict[str, Any]:
    """The first document that has anything; lnetctl prints one."""
    return next((document for document in _documents(text) if document), {})


def _list(text: str, key: str) -> list[dict[str, Any]]:
    return [entry for document in _documents(text) for entry in _mappings(document.get(key))]


def _mappings(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, Sequence) else []


def _nid(value: object) -> Nid | None:
    try:
        return Nid.parse(str(value))
    except ValueError:
        return None


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value.values())) if isinstance(value, dict) else ()


def _health(ni: dict[str, Any]) -> int | None:
    stats = ni.get("health stats")
    value = stats.get("health value") if isinstance(stats, dict) else None
    return value if isinstance(value, int) else None


def _int(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise


def _up(state: object) -> bool | None:
    return None if state is None else state == "up"
