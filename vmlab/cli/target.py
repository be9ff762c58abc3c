"""From what was typed to what is meant: a topology file, a bed on its host."""

import contextlib
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmlab.lab.ground.hosts import Hosts
    from vmlab.topology import Topology
    from vmlab.values.libvirt_uri import Way
    from vmlab.virt.connection import Host

_BED = re.compile(r"[a-z][a-z0-9-]{0,30}")
_NAME = re.compile(r"^name:[ \t]+([a-z][a-z0-9-]{0,30})[ \t]*(?:#.*)?$", re.MULTILINE)
_STDIN = "-"
_SUFFIXES = ("", ".yaml", ".yml")


def find(file: str) -> Path:
    """The topology file of this name: here, then among those that ship with vmlab; with or without its suffix.

    Raises UsageError naming those that ship.
    """
    from vmlab.errors import UsageError
    from vmlab.runtime.shipped import shipped

    folders = [Path()] if "/" in file else [Path(), shipped("topologies")]
    for folder in folders:
        for suffix in _SUFFIXES:
            path = folder / (file + suffix)
            with contextlib.suppress(OSError, ValueError):
                if path.is_file():
                    return path
    known = ", ".join(path.name for path in sorted(shipped("topologies").glob("*.yaml")))
    raise UsageError(f"there is no topology file {file!r:.200}", hint=f"vmlab ships: {known}")


def load(file: str, name: str | None = None, settings: "Sequence[str]" = ()) -> "Topology":
    """The topology of a file that is looked up by `find`, or of standard input for `-`; with `settings` over it.

    Its workloads' options are checked, too.
    """
    from vmlab import topology, workloads

    for line in workloads.warnings():
        typer.echo(f"vmlab: warning: {line}", err=True)
    known = workloads.options_by_name()
    if file == _STDIN:
        return topology.load_from(sys.stdin.buffer, "<stdin>", name=name, workloads=known, settings=settings)
    return topology.load(find(file), name=name, workloads=known, settings=settings)


def is_file(bed: str) -> bool:
    """A BED argument that is a topology file: by its suffix, because it is a path, or standard input."""
    return bed.endswith((".yaml", ".yml")) or "/" in bed or bed == _STDIN


def file_of(bed: str) -> str:
    """A topology file from a BED argument: for a name, the one file that describes a bed of this name.

    Raises UsageError if there is none, or more than one.
    """
    from vmlab.errors import UsageError

    if is_file(bed) or not _BED.fullmatch(bed):
        return bed
    files, known = _describing(bed)
    if len(files) > 1:
        raise UsageError(f"several files describe a bed {bed}: {', '.join(map(str, files))}", hint="name the file")
    if files:
        return _written(files[0])
    from vmlab.topology.wording import expected

    told = f"no topology file here describes a bed {bed} ({expected(bed, known)})"
    raise UsageError(told, hint="name the file instead of the bed")


def described_by(bed: str) -> str | None:
    """As `file_of`; None where there is no such file, or more than one. Who does not need it does not wait for why."""
    if is_file(bed):
        return bed
    files, _ = _describing(bed) if _BED.fullmatch(bed) else ((), ())
    return _written(files[0]) if len(files) == 1 else None


def _describing(bed: str) -> "tuple[Sequence[Path], Sequence[str]]":
    """The files of a bed of this name, of the first folder that has one; and all beds that were seen on the way."""
    from vmlab.runtime.shipped import shipped

    known: dict[str, list[Path]] = {}
    for folder in (Path(), shipped("topologies")):
        for path in sorted(folder.glob("*.y*ml")):
            for name in _NAME.findall(path.read_text(errors="replace")) if path.is_file() else ():
                known.setdefault(name, []).append(path)
        if bed in known:
            break
    return known.get(bed, []), sorted(known)


def _written(file: Path) -> str:
    """So that it is taken for a file, wherever one may stand."""
    return f"./{file}" if file.parent == Path() else str(file)


def with_externals(bed: str) -> "Topology | None":
    """The topology of a bed, for what libvirt does not know of it; None for a bed's name if it has no such thing here.

    A file that is only found by the bed's name is read if it has the word in it: a bed of guests costs nothing, and a
    file that somebody is writing is no obstacle to a bed that is up.
    """
    from vmlab.errors import TopologyError, UsageError

    if is_file(bed):
        return load(bed)
    file = described_by(bed)
    if file is None or "external" not in Path(file).read_text(errors="replace"):
        return None
    try:
        return load(file)
    except UsageError:
        return None
    except TopologyError as error:
        typer.echo(f"vmlab: warning: external nodes are not known: {error.problems[0]}", err=True)
        return None


def guests_only(bed: str, nodes: str | None) -> "Topology | None":
    """As `with_externals`; raises UsageError if `nodes` names a machine that is no guest."""
    from vmlab.topology.select import refuse_external

    topology = with_externals(bed)
    if topology is not None and nodes is not None:
        refuse_external(nodes, topology.externals)
    return topology


@contextlib.contextmanager
def at(
    bed: str, topology: "Topology | None" = None, *, tolerant: bool = False, nodes: str | None = None
) -> "Iterator[tuple[Hosts, str]]":
    """A bed's hosts, and the bed's name, from its name or its topology file, which may have been loaded already.

    The `tolerant` tells of hosts that are away and does without them; `refuse_away` says so with its status. Where only
    `nodes` are asked for, and it was noted which hosts these are on, nobody waits for others.
    """
    from vmlab.errors import UsageError
    from vmlab.lab.ground.bed import default_uri, hosts_at, known_hosts, ways_in
    from vmlab.lab.ground.choosing import all_there, spared
    from vmlab.values.libvirt_uri import Way

    if is_file(bed):
        topology = topology or load(bed)
        name, ways = topology.name, ways_in(topology)
    elif _BED.fullmatch(bed):
        name, ways = bed, known_hosts(bed) or {"local": Way(default_uri())}
    else:
        raise UsageError(f"{bed!r:.80} is neither a bed's name nor a topology file", hint="vmlab list")
    if nodes is not None and (others := spared(ways, name, nodes)):
        with hosts_at(ways, tolerant=tolerant, spared=others) as hosts:
            if all_there(hosts, name, nodes):
                _tell_away(hosts)
                yield hosts, name
                return
    with hosts_at(ways, tolerant=tolerant) as hosts:
        _tell_away(hosts)
        yield hosts, name


@contextlib.contextmanager
def of_places(*places: str) -> "Iterator[Hosts]":
    """The hosts of the bed that one of the places (`BED.NODE:PATH`) names; where none does, this machine."""
    from vmlab.lab.ground.hosts import only

    if (bed := next(filter(None, map(_named_in, places)), None)) is not None:
        with at(bed, tolerant=True) as (hosts, _):
            yield hosts
    else:
        with here() as host:
            yield only(host)


def _named_in(place: str) -> str | None:
    nodes, colon, _ = place.partition(":")
    bed, dot, _ = nodes.partition(".")
    return bed if colon and dot and "/" not in nodes and _BED.fullmatch(bed) else None


def _tell_away(hosts: "Hosts") -> None:
    for one in hosts.away.values():
        if one.asked:
            typer.echo(f"vmlab: warning: the host {one.name} is away: {one.why.message}", err=True)


def refuse_away(hosts: "Hosts", bed: str) -> None:
    """Raise HostError when all is done that can be done without the hosts that are away."""
    from vmlab.errors import HostError

    if hosts.away:
        names = ", ".join(hosts.away)
        tried = "; ".join(f"virsh -c {shlex.quote(away.uri)} list" for away in hosts.away.values())
        raise HostError(
            f"{bed}: nothing is known of what is on {names}, which is away", hint=f"does it answer? {tried}"
        )


@contextlib.contextmanager
def described(bed: str, name: str | None = None, *, tolerant: bool = False) -> "Iterator[tuple[Hosts, Topology]]":
    """A bed's hosts and its topology: for what libvirt does not know of a bed. `file_of` says how the file is found.

    The `tolerant` tells of hosts that are away and does without them, as `at`.
    """
    from vmlab.errors import UsageError
    from vmlab.lab.ground.bed import hosts_of

    try:
        file = file_of(bed)
    except UsageError as error:
        raise UsageError(error.message, hint=f"name the file, and the bed by --name {bed}") from error
    topology = load(file, name)
    with hosts_of(topology, tolerant=tolerant) as hosts:
        _tell_away(hosts)
        yield hosts, topology


def ways_on(on: str | None) -> "dict[str, Way]":
    """The ways to what --on means, by name: one host, or all of a bed or a topology file; without it this machine.

    Raises UsageError for what is none of these.
    """
    from vmlab.errors import UsageError
    from vmlab.lab.ground.bed import default_uri, known_hosts, ways_in
    from vmlab.values.libvirt_uri import Way

    if on is None:
        return {"local": Way(default_uri())}
    if "://" in on:
        return {urlsplit(on).hostname or "local": Way(on)}
    if is_file(on):
        return ways_in(load(on))
    if _BED.fullmatch(on):
        if (found := known_hosts(on)) is not None:
            return found
        if (file := described_by(on)) is not None:
            return ways_on(file)
    raise UsageError(
        f"{on!r:.80} is neither a URI of libvirt's, nor a bed on other hosts, nor a topology file",
        hint="--on qemu+ssh://root@HOST/system",
    )


@contextlib.contextmanager
def on_hosts(on: str | None) -> "Iterator[Hosts]":
    """The hosts that --on means. Those that are away are told; `refuse_away` says so with its status.

    Raises HostError if none of them answers.
    """
    from vmlab.lab.ground.bed import hosts_at

    with hosts_at(ways_on(on), tolerant=True) as hosts:
        _tell_away(hosts)
        yield hosts


@contextlib.contextmanager
def here(*, anywhere: bool = False) -> "Iterator[Host]":
    """The host that LIBVIRT_DEFAULT_URI names, or this machine; another one only where `anywhere` will do."""
    from vmlab.lab.ground.bed import default_uri, opened

    with opened(default_uri(), anywhere=anywhere) as host:
        yield host


def agreed(question: str, lines: list[str], *, yes: bool, again: str) -> None:
    """Ask on the terminal before something is destroyed, listing what.

    Without a terminal and without `yes` raises UsageError whose hint is `again`; a "no" ends the command.
    """
    from vmlab.errors import UsageError
    from vmlab.values.printable import printable

    if yes or not lines:
        return
    for line in lines:
        typer.echo(printable(line), err=True)
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is there to ask", hint=again)
    if not typer.confirm(question, err=True):
        typer.echo("nothing was done", err=True)
        raise typer.Exit(130)
