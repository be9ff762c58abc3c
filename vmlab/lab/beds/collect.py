"""Collect what a bed's nodes, and their host, know of what went on: into one folder with an index.

First comes what the host has, however sick a guest is; then the guest is asked, each kind of thing by itself. A node
has a time of its own; who is silent keeps nobody waiting.
"""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vmlab import __version__
from vmlab.errors import GuestError, HostError, VmlabError
from vmlab.guest.evidence import LAST, QUESTIONS, ask, vmcore, why_not
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.debug import booted
from vmlab.lab.beds.triage import log_of, stacks_of
from vmlab.lab.ground.bed import everybody, existing
from vmlab.lab.ground.choosing import Choice, choose
from vmlab.lab.ground.doors import doors
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.plan.observed import CRASHED, ObservedBed, ObservedDomain
from vmlab.records.evidence import Dump, Evidence, Kept, Missing, OfNode, as_data, as_text
from vmlab.runtime.files import write_atomically
from vmlab.runtime.parallel import each
from vmlab.runtime.process import run
from vmlab.runtime.wait import Deadline
from vmlab.suites.consoles import Event, read_console
from vmlab.values.scrub import scrubbed
from vmlab.virt.evidence import domain_xml, dump_memory, qemu_log
from vmlab.virt.kept_consoles import KEPT, consoles
from vmlab.virt.observe import domain_state

_LONGEST = 8 << 20  # bytes of a text
_PACKED_FROM = 64 << 10
_AT_ONCE = 4  # questions to a guest; sshd takes ten sessions
_CONNECT_S = 60.0
_PACK_S = 1800.0
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since`: nothing older, where that can be told. `deadline_s` is of each node, without the dump of its memory."""

    nodes: str = "*"
    since: datetime | None = None
    dump: Dump = Dump.NEVER
    deadline_s: float = 120.0


def collect(
    hosts: Hosts, bed: str, wanted: Wanted, folder: Path, *, texts: Mapping[str, tuple[str, str]], progress: Progress
) -> tuple[Evidence, Choice]:
    """What there is, in a new folder, and who was meant.

    `texts` of the whole bed go along: by name, what each is and what it says.
    The folder is called `FOLDER.partial` until the index is there. Raises UsageError if there is no such bed or node,
    HostError if the folder is there or cannot be written to.
    """
    found = existing(hosts, bed)
    choice = choose(hosts, bed, wanted.nodes, everybody(found, None))
    names = list(choice.here)
    with _made(folder) as partial:
        guests = doors(hosts, found) if hosts.have_guests else {}

        def of(name: str) -> OfNode:
            begun = _Node(hosts, found, name, wanted, partial / name)
            told = begun.collect(guests.get(name), progress)
            progress.stage(name, f"silent: {told.silent}" if told.silent else "collected")
            return told

        kept = [_write(partial, name, about, text) for name, (about, text) in texts.items()]
        nodes = each(of, names, jobs=len(names), failed="not all could be collected")
        evidence = Evidence(
            bed, datetime.now(UTC).isoformat(timespec="seconds"), __version__, tuple(nodes), tuple(kept)
        )
        write_atomically(partial / "index.md", as_text(evidence))
        write_atomically(partial / "index.json", json.dumps(as_data(evidence), indent=1) + "\n")
    return evidence, choice


@contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder that has its name when the `with` block is over."""
    partial = folder.with_name(folder.name + PARTIAL)
    try:
        if folder.exists():
            raise HostError(f"{folder} is there already", hint="--to ANOTHER")
        partial.mkdir(mode=0o700, parents=True)
        yield partial
        partial.rename(folder)
    except OSError as error:
        raise HostError(f"{error.filename or folder}: {error.strerror}", hint="--to DIR") from error


class _Node:
    """One node's part, while it is being collected."""

    def __init__(self, hosts: Hosts, bed: ObservedBed, name: str, wanted: Wanted, folder: Path) -> None:
        self._name, self._bed, self._folder, self._wanted = name, bed, folder, wanted
        self._hosts = hosts
        self._domain: ObservedDomain = bed.nodes[name]
        self._host = hosts.of(self._domain)
        self._deadline = Deadline.after(wanted.deadline_s)
        self._kept: list[Kept] = []
        self._missing: list[Missing] = []
        self._events: list[str] = []

    def collect(self, guest: Guest | None, progress: Progress) -> OfNode:
        domain = self._domain.facts.name
        self._folder.mkdir()
        progress.stage(self._name, "host")
        self._try("domain.xml", lambda: self._keep("domain.xml", "libvirt's domain", domain_xml(self._host, domain)))
        self._try("qemu.log", lambda: self._keep("qemu.log", "QEMU's log", qemu_log(self._host, domain, _LONGEST)))
        self._try("console", self._consoles)
        state = domain_state(self._host, domain)
        silent = self._ask(guest, progress) if self._domain.running and guest is not None else "it is off"
        keep = self._wanted.dump is Dump.ALWAYS or (self._wanted.dump is Dump.SILENT and bool(silent))
        if self._domain.running and (keep or state == CRASHED):
            progress.stage(self._name, "memory")
            self._try("memory", lambda: self._memory(domain, keep=keep))
        self._kept.sort(key=lambda kept: kept.file)
        return OfNode(self._name, state, silent, tuple(self._kept), tuple(self._missing), tuple(self._events))

    def _ask(self, guest: Guest, progress: Progress) -> str:
        """Why the guest did not answer, "" if it did."""
        progress.stage(self._name, "ssh")
        try:
            with guest:
                guest.connect(self._deadline.capped(_CONNECT_S))
                progress.stage(self._name, "guest")
                for questions in (QUESTIONS, LAST):
                    self._ask_all(guest, questions)
                self._try("vmcore", lambda: self._vmcore(guest))
        except GuestError as error:
            return error.message
        return ""

    def _ask_all(self, guest: Guest, questions: Mapping[str, str]) -> None:
        each(lambda what: self._answer(guest, what, questions[what]), questions, jobs=_AT_ONCE, failed="no answer")

    def _answer(self, guest: Guest, what: str, about: str) -> None:
        if self._deadline.passed:
            self._missing.append(Missing(what, "its node's time was over"))
            return
        since = self._wanted.since
        since_s = max(1, int((datetime.now(UTC) - since).total_seconds())) if since is not None else 0
        result = ask(guest, what, since_s=since_s, deadline_s=self._deadline.left_s)
        if result.stdout.strip():
            self._keep(f"{what}.txt", about, result.stdout)
        self._missing += [Missing(what, why) for why in why_not(result)]

    def _vmcore(self, guest: Guest) -> None:
        """The latest that a crash kernel saved in the guest."""
        if not (there := vmcore(guest)):
            return
        path = self._folder / "vmcore"
        result = guest.copy([there], str(path), to_guest=False, deadline_s=_PACK_S)
        if not result.ok:
            raise HostError(f"{there} cannot be copied: {result.last_line}")
        path.chmod(0o600)
        self._kept.append(Kept(f"{self._name}/vmcore", f"{there}, for crash or drgn", path.stat().st_size))

    def _consoles(self) -> None:
        """Of all starts that are kept; the last is that since the latest start."""
        for until, text in consoles(self._host, self._bed.metadata[self._name], KEPT):
            if self._wanted.since is not None and until is not None and until < self._wanted.since:
                continue
            self._events += [_told(event, until) for event in read_console(text).events]
            if until is None:
                self._keep("console.log", "what the console printed since the last start", text)
            else:
                name = f"console-until-{until:%Y%m%dT%H%M%SZ}.log"
                self._keep(name, "what it printed in an earlier start", text)

    def _memory(self, domain: str, *, keep: bool) -> None:
        """What the console may not say: the kernel's log, threads. All of it is only kept if that is asked for."""
        path = self._folder / "memory.elf"
        dump_memory(self._host, domain, path)
        self._try("kernel log in memory", lambda: self._kernel_log(path))
        self._try("stacks in memory", lambda: self._stacks(path))
        if not keep:
            path.unlink()
            return
        packed = _packed(path)
        size = packed.stat().st_size
        self._kept.append(Kept(f"{self._name}/{packed.name}", "its memory, for crash or drgn", size))

    def _kernel_log(self, path: Path) -> None:
        text = log_of(path)
        self._keep("kernel-log-in-memory.txt", "the kernel's log, as its memory has it", text)
        told = (_told(event, None) for event in read_console(text).events)
        self._events += [event for event in told if event not in self._events]

    def _stacks(self, path: Path) -> None:
        text = stacks_of(path, booted(self._hosts, self._domain))
        self._keep("stacks-in-memory.txt", "who panicked, and all threads by their stacks, out of its memory", text)

    def _keep(self, name: str, about: str, text: str) -> None:
        if text.strip():
            self._kept.append(_write(self._folder.parent, f"{self._name}/{name}", about, text))
        else:
            self._missing.append(Missing(name, "there is nothing in it"))

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except VmlabError as error:
            self._missing.append(Missing(what, error.message))


def _told(event: Event, until: datetime | None) -> str:
    when = f", before {until:%Y-%m-%d %H:%M:%SZ}" if until is not None else ""
    more = f" -> {event.panic}" if event.panic and event.panic != event.line else ""
    return f"{event.kind}{when}: {event.line}{more}{' (because of what had stopped)' if event.symptom else ''}"


def _write(folder: Path, name: str, about: str, text: str) -> Kept:
    """Without secrets, at most so long, and packed if it is long."""
    whole = scrubbed(text).encode(errors="replace")
    data = whole[-_LONGEST:]
    if len(data) > _PACKED_FROM:
        name, content = f"{name}.gz", gzip.compress(data, compresslevel=6)
    else:
        content = data
    write_atomically(folder / name, content, mode=0o600)
    return Kept(name, about, len(data), cut=len(data) < len(whole))


def _packed(path: Path) -> Path:
    """Most of a guest's memory is empty, or twice there."""
    if shutil.which("zstd") and run(("zstd", "-q", "-1", "--rm", str(path)), deadline_s=_PACK_S).ok:
        return path.with_name(f"{path.name}.zst")
    packed = path.with_name(f"{path.name}.gz")
    with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    path.unlink()
    return packed


def folder_of(bed: str, now: datetime) -> Path:
    """Where the evidence of a bed goes if nobody says otherwise: here, by the bed's name and the time."""
    return Path(f"{bed}-evidence-{now:%Y%m%dT%H%M%SZ}")
