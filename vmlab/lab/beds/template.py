"""Boot a template once, on no network, and keep its memory and what it wrote on its disk.

libvirt ends its guest with our connection, so that a killed vmlab leaves files only: half made, and made anew.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import libvirt

from vmlab.domainxml.clone import Files, template_xml
from vmlab.errors import GuestError, HostError
from vmlab.guest.console import death, last_lines
from vmlab.guest.first_boot import template as template_archive
from vmlab.guest.openssh import key_pair
from vmlab.runtime import lock
from vmlab.runtime.iso import iso
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline, now, until
from vmlab.store.templates import Template, Templates
from vmlab.virt.connection import Host, gone_is_fine
from vmlab.virt.machine import machine_of
from vmlab.virt.observe import domain_state
from vmlab.virt.save_image import make_room

PREFIX = "vmlab-template."
"""Of its domain's name while it boots; the key follows."""
READY = "vmlab: template"
"""What the guest says when it has booted (store/recipes/first-boot)."""

_BOOT_S = {"kvm": 180.0, "qemu": 900.0}
_SAVE_S = 300.0
_ASK_S = 60.0
_LOOK_EVERY_S = 0.2
_ENDED_S = 30.0
_LIMIT = 16 << 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """A template that is not there. `xml` is the definition of a domain that is to be its clone, as libvirt keeps it.

    `size` is the virtual size of the root disk in bytes; `grow`: that is more than the image's. `cards` are what those
    of that node are called, and `user` logs in.
    """

    key: str
    xml: str
    image: str
    disk: str
    size: int
    grow: bool
    kind: str
    qemu: int
    memory_kib: int
    cards: tuple[str, ...]
    user: str

    @property
    def name(self) -> str:
        """Of its domain while it boots."""
        return f"{PREFIX}{self.key}"


def make(host: Host, templates: Templates, wanted: Wanted) -> None:
    """Make it, unless somebody else does at this moment: then it is there when this returns.

    Raises HostError or LibvirtError where the host cannot, GuestError if the guest does not come so far.
    """
    with making(wanted.key, wait_s=_BOOT_S[wanted.kind]):
        if templates.find(wanted.key) is not None:
            return
        begin = now()
        templates.folder.mkdir(mode=0o711, exist_ok=True)
        templates.remove(wanted.key)
        try:
            _Making(host, templates, wanted).boot()
            _add(templates, wanted, now() - begin)
        except OSError as error:
            raise HostError(f"{templates.folder}: {error.strerror}", hint="df -h; vmlab gc") from error
        finally:
            for suffix in (".seed", ".console", ".root", ".saved", ".saved.wide"):
                templates.file(wanted.key, suffix).unlink(missing_ok=True)
        for kept in templates.over(_LIMIT):
            log.info(
                "the template %s of %s goes, for those that were used later", kept.template.key, kept.template.image
            )
            templates.remove(kept.template.key)


@contextlib.contextmanager
def making(key: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a template while it is made. Raises BusyError if another vmlab holds it for longer than `wait_s`."""
    with lock.held(f"template.{key}", what=f"the template {key}", wait_s=wait_s):
        yield


def _add(templates: Templates, wanted: Wanted, seconds: float) -> None:
    saved = templates.file(wanted.key, ".saved")
    make_room(saved)
    saved.replace(templates.file(wanted.key, ".memory"))
    templates.file(wanted.key, ".root").replace(templates.file(wanted.key, ".qcow2"))
    made = datetime.now(UTC).isoformat(timespec="seconds")
    templates.add(
        Template(
            wanted.key,
            wanted.image,
            wanted.disk,
            wanted.qemu,
            wanted.memory_kib,
            len(wanted.cards),
            made,
            round(seconds, 1),
        )
    )


class _Making:
    """Its guest, from nothing to its memory in a file."""

    def __init__(self, host: Host, templates: Templates, wanted: Wanted) -> None:
        self._host = host
        self._wanted = wanted
        self._root, self._seed, self._console, self._saved = (
            templates.file(wanted.key, suffix) for suffix in (".root", ".seed", ".console", ".saved")
        )

    def boot(self) -> None:
        """Boot it, and save it when it says that it has."""
        wanted = self._wanted
        self._end()  # of a vmlab whose connection libvirt has not given up yet
        key = key_pair(secrets.token_bytes(32), "template")
        self._seed.write_bytes(iso({}, template_archive(key, user=wanted.user, cards=wanted.cards, grow=wanted.grow)))
        backing = ("-b", wanted.disk, "-F", "qcow2")
        create = ("qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self._root), str(wanted.size))
        made = machine_of(self._host).run(create, deadline_s=_ASK_S)
        if not made.ok:
            raise HostError(f"qemu-img: {made.last_line}")
        files = Files(str(self._root), str(self._seed), str(self._console))
        xml = template_xml(wanted.xml, wanted.name, files)
        self._host.call(
            lambda connection: connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY), deadline_s=_SAVE_S
        )
        try:
            self._await()
            self._save()
        finally:
            self._end()

    def _await(self) -> None:
        def ready() -> bool:
            text = _text(self._console)
            line = death(text)
            if line is not None or domain_state(self._host, self._wanted.name) != "running":
                raise self._failure(line or "its guest has ended", text)
            return READY in text

        if not until(ready, Deadline.after(_BOOT_S[self._wanted.kind]), every_s=_LOOK_EVERY_S):
            raise self._failure("it has not booted in time", _text(self._console))

    def _save(self) -> None:
        def act(connection: "libvirt.virConnect") -> None:
            domain = connection.lookupByName(self._wanted.name)
            domain.saveFlags(str(self._saved), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)

        self._host.call(act, deadline_s=_SAVE_S)

    def _end(self) -> None:
        def act(connection: "libvirt.virConnect") -> None:
            with gone_is_fine():
                connection.lookupByName(self._wanted.name).destroy()

        self._host.call(act, deadline_s=_ENDED_S)

    def _failure(self, message: str, console: str) -> GuestError:
        return GuestError(
            f"the template of {self._wanted.image}: {message}",
            node="template",
            stage="kernel",
            console=last_lines(console),
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def usable(templates: Path) -> bool:
    """Whoever runs this may keep templates there."""
    return os.access(templates, os.W_OK | os.X_OK) and shutil.which("qemu-img") is not None
