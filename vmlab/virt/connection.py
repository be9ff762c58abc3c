"""One libvirt connection that survives a restart of libvirtd, and libvirt's errors as ours."""

import contextlib
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import libvirt

from vmlab.errors import HostError, LibvirtError, VmlabError
from vmlab.runtime.bounded import Late, within
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.log import log
from vmlab.runtime.wait import Deadline
from vmlab.values.libvirt_uri import Way, leads_elsewhere
from vmlab.values.ssh_uri import SshUri
from vmlab.virt.daemons import how_to_start, look
from vmlab.virt.elsewhere import refuse_elsewhere
from vmlab.virt.events import run_events
from vmlab.virt.probed import probed

T = TypeVar("T")

# How long a restarting libvirtd may take until we give up on it.
_RECONNECT_S = 30.0
_OPEN_S = 60.0
_OPEN_ELSEWHERE_S = 30.0
# Ample: where /dev/kvm is root's alone one define takes 90 s, and a guest with much memory starts for minutes.
CALL_S = 300.0
# Beyond the end of a command that is to end: looking once more is always allowed.
_GRACE_S = 10.0
_SLOW_S = 5.0
# A libvirtd that hangs as a whole is found out in a minute; one that only hangs in a call, by that call's deadline.
_KEEPALIVE_S, _KEEPALIVES = 10, 5
_KEEPALIVE_ELSEWHERE_S, _KEEPALIVES_ELSEWHERE = 5, 4

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; libvirt need not print them too


class Host:
    """A host's libvirt. Threads may share it: libvirt serialises what it must."""

    def __init__(self, uri: str, name: str = "local", ssh: SshUri | None = None) -> None:
        """`ssh` leads to a shell there, None: as `uri` does. Raises HostError when there is no libvirt at `uri`."""
        self.uri = uri
        self.name = name
        self.ssh = ssh
        self.hard_end: Deadline | None = None
        self._lock = threading.Lock()
        self._hanging: libvirt.virConnect | None = None
        self._connection = self._open()
        if ":" not in uri:  # a name that libvirt.conf has for one
            self.uri = self.call(lambda connection: connection.getURI())

    @property
    def way(self) -> Way:
        """How it is reached."""
        return Way(self.uri, self.ssh)

    @property
    def simulated(self) -> bool:
        """libvirt's test driver: objects without bytes or guests behind them."""
        return self.uri.startswith("test:")

    @property
    def has_guests(self) -> bool:
        """Somebody answers behind the domains that run."""
        return not self.simulated

    @property
    def local(self) -> bool:
        """The guests' files and processes are on this machine."""
        return not self.simulated and not leads_elsewhere(self.uri)

    @contextlib.contextmanager
    def until(self, hard_end: Deadline) -> Iterator[None]:
        """No call takes much longer than to `hard_end` for the `with` block."""
        self.hard_end, before = hard_end, self.hard_end
        try:
            yield
        finally:
            self.hard_end = before

    def call(self, action: Callable[["libvirt.virConnect"], T], *, deadline_s: float = CALL_S) -> T:
        """Run `action` with the connection, again if libvirtd went away in the middle: it must be repeatable.

        Raises LibvirtError for what libvirt refuses, and when it does not answer in `deadline_s`.
        """
        if self.hard_end is not None:
            deadline_s = min(deadline_s, max(self.hard_end.left_s, _GRACE_S))
        connection = self._connection
        if connection is self._hanging:  # libvirtd takes few calls of one connection at once
            connection = self._reconnect(connection)
        try:
            return self._bounded(action, connection, deadline_s)
        except libvirt.libvirtError as error:
            if not lost(connection, error):
                raise refused(error) from error
            log.debug("libvirt went away (%s): connecting again", error)
        try:
            return self._bounded(action, self._reconnect(connection), deadline_s)
        except libvirt.libvirtError as error:
            raise refused(error) from error

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(libvirt.libvirtError, Late):
            within(_GRACE_S, self._connection.close)

    def _bounded(
        self, action: Callable[["libvirt.virConnect"], T], connection: "libvirt.virConnect", seconds: float
    ) -> T:
        try:
            return within(seconds, lambda: action(connection), every_s=_SLOW_S, meanwhile=self._tell_why)
        except Late:
            self._hanging = connection
            where = "" if self.local or self.simulated else f" at {self.uri}"
            raise LibvirtError(
                f"libvirt{where} has not answered for {seconds:.0f} s",
                hint=self._try_it,
            ) from None

    @property
    def _try_it(self) -> str:
        return f"does this come back? virsh -c {shlex.quote(self.uri)} list"

    def _tell_why(self) -> None:
        """A call that takes long, and why, if that is to be seen: once for a command, as all warnings."""
        if self.local and (qemu := probed()):
            log.warning(
                "libvirt asks %s anew what it can do, which takes up to minutes on a busy host (after an upgrade, a "
                "restart of libvirtd, or where only root may open /dev/kvm)",
                qemu,
            )

    def _reconnect(self, lost: "libvirt.virConnect") -> "libvirt.virConnect":
        from tenacity import (  # noqa: PLC0415  slow to import
            Retrying,
            retry_if_exception_type,
            stop_after_delay,
            wait_fixed,
        )

        patient = Retrying(
            retry=retry_if_exception_type(HostError),
            wait=wait_fixed(0.3),
            stop=stop_after_delay(_RECONNECT_S),
            reraise=True,
        )
        with self._lock:
            if self._connection is lost:
                self._connection = patient(self._open)
            return self._connection

    def _open(self) -> "libvirt.virConnect":
        try:
            return within(_OPEN_S if self.local or self.simulated else _OPEN_ELSEWHERE_S, self._opened)
        except Late:
            raise HostError(
                f"libvirt at {self.uri} does not answer",
                hint=self._try_it,
            ) from None
        except libvirt.libvirtError as error:
            text = error.get_error_message() or str(error)
            raise HostError(f"no libvirt at {self.uri}: {text}", hint=_connect_hint(self.uri, text)) from error

    def _opened(self) -> "libvirt.virConnect":
        if self.simulated:
            return libvirt.open(self.uri)
        run_events()
        connection = libvirt.open(self.uri)
        with contextlib.suppress(libvirt.libvirtError):  # a libvirtd that knows no keepalive
            if self.local:
                connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVES)
            else:
                connection.setKeepAlive(_KEEPALIVE_ELSEWHERE_S, _KEEPALIVES_ELSEWHERE)
        return connection


@dataclass(frozen=True, slots=True)
class Away:
    """A host that does not answer, and why; or that nobody `asked`."""

    name: str
    uri: str
    why: VmlabError
    asked: bool = True
    ssh: SshUri | None = None

    @property
    def way(self) -> Way:
        """As of a `Host`."""
        return Way(self.uri, self.ssh)

    @property
    def local(self) -> bool:
        """As of a `Host`."""
        return not self.uri.startswith("test:") and not leads_elsewhere(self.uri)


@contextlib.contextmanager
def connected(uri: str, *, name: str = "local", ssh: SshUri | None = None, anywhere: bool = False) -> Iterator[Host]:
    """A host for the `with` block. Raises HostError for another machine than this one, if that is not `anywhere`."""
    if not anywhere:
        refuse_elsewhere(uri)
    host = Host(uri, name, ssh)
    try:
        if not anywhere:
            refuse_elsewhere(host.uri)
        yield host
    finally:
        host.close()


def refused(error: "libvirt.libvirtError") -> LibvirtError:
    """libvirt's own text is the cause; a daemon that is off has a hint."""
    text = error.get_error_message() or str(error)
    return LibvirtError(f"libvirt: {text}", hint=how_to_start(text, look(), install_hint("libvirtd")))


def missing(error: "libvirt.libvirtError") -> bool:
    """The object that was asked for does not exist."""
    return error.get_error_code() in (
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
    )


class gone_is_fine:  # noqa: N801  as contextlib names those of its kind
    """The `with` block may find that its object does not exist any more."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Nothing is needed before."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        """Whether the error is that."""
        return isinstance(error, libvirt.libvirtError) and missing(error)


def lost(connection: "libvirt.virConnect", error: "libvirt.libvirtError") -> bool:
    """The connection is gone, and the error says nothing of what was asked for."""
    # A dead connection reports all kinds of codes; whether it is alive is what tells.
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return True
    try:
        return not connection.isAlive()
    except libvirt.libvirtError:
        return True


def _connect_hint(uri: str, text: str) -> str:
    if leads_elsewhere(uri):
        if "certificate" in text.lower():
            return (
                "look at cacert.pem, clientcert.pem and clientkey.pem, in the URI's ?pkipath=FOLDER or else in /etc/pki"
            )
        return f"does this answer? virsh -c {shlex.quote(uri)} list"
    if hint := how_to_start(text, look(), install_hint("libvirtd")):
        return hint
    if "Permission denied" in text or "authentication" in text:
        return "use sudo, or join the group: usermod -aG libvirt $USER"
    return "vmlab host check"
