"""Hosts as directories: write what a host tells, and read a host from what was written."""

from collections.abc import Iterator
from pathlib import Path

from vmlab.domainxml.metadata import not_understood
from vmlab.errors import HostError, UsageError
from vmlab.inventory.facts import FILE as FACTS
from vmlab.inventory.facts import facts_text
from vmlab.inventory.model import HostInventory
from vmlab.inventory.record import CAPABILITIES, DOMAINS, NODEDEV, read_record
from vmlab.inventory.scrub import scrubbed
from vmlab.runtime.files import write_atomically
from vmlab.runtime.log import log
from vmlab.virt.connection import Host
from vmlab.virt.inventory import read_host

_TAGS = {NODEDEV: "device", DOMAINS: "domain"}


def recorded(folder: Path, name: str | None = None) -> HostInventory:
    """The host that a folder records, called as the folder unless `name` says otherwise.

    Raises HostError if it is no record of a host.
    """
    try:
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes().decode(errors="replace") for path in _in(folder)
        }
    except OSError as error:
        raise HostError(f"{error.filename or folder}: {error.strerror}") from error
    if CAPABILITIES not in files:
        raise HostError(f"{folder} is no record of a host: it has no {CAPABILITIES}", hint="vmlab host capture DIR")
    found = read_record(name or folder.resolve().name, files)
    for claim in found.claims:
        if claim.unreadable:
            log.warning("%s: %s", folder, not_understood(f"domain {claim.domain}", claim.unreadable))
    return found


def capture(host: Host, folder: Path) -> int:
    """Write the host's record, without serial numbers and uuids, into an empty or new folder; the number of its files.

    Raises UsageError if something lies there: two hosts in one folder would be read as one.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", hint="name a new one")
    record = read_host(host)
    texts = {name: scrubbed(text, name, _tag(name)) for name, text in record.files.items()}
    texts[FACTS] = facts_text(record.facts)
    for name, text in texts.items():
        write_atomically(folder / name, text)
    read_record(host.name, texts)  # what was written can be read
    return len(texts)


def _tag(name: str) -> str:
    return next((tag for place, tag in _TAGS.items() if name.startswith(place)), "capabilities")


def _in(folder: Path) -> Iterator[Path]:
    named = (folder / CAPABILITIES, folder / FACTS)
    listed = (path for place in (NODEDEV, DOMAINS) for path in sorted((folder / place).glob("*.xml")))
    yield from (path for path in (*named, *listed) if path.is_file())
