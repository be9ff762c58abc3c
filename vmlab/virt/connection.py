"""One libvirt connection that survives a restart of libvirtd, and libvirt's errors as ours."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import libvirt
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from vmlab.errors import HostError, LibvirtError
from vmlab.runtime.log import log

T = TypeVar("T")

# How long a restarting libvirtd may take until we give up on it.
_RECONNECT_S = 30.0

libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; libvirt need not print them too


class Host:
    """A host's libvirt. Threads may share it: libvirt serialises what it must."""

    def __init__(self, uri: str, name: str = "local") -> None:
        """Raises HostError when there is no libvirt at `uri`."""
        self.uri = uri
        self.name = name
        self._lock = threading.Lock()
        self._connection = self._open()

    @property
    def simulated(self) -> bool:
        """libvirt's test driver: objects without bytes or guests behind them."""
        return self.uri.startswith("test:")

    @property
    def local(self) -> bool:
        """The guests' files and processes are on this machine."""
        return not self.simulated and "://" in self.uri and self.uri.split("://", 1)[1].startswith("/")

    def call(self, action: Callable[["libvirt.virConnect"], T]) -> T:
        """Run `action` with the connection, again if libvirtd went away in the middle: it must be repeatable.

        Raises LibvirtError for what libvirt refuses.
        """
        connection = self._connection
        try:
            return action(connection)
        except libvirt.libvirtError as error:
            if not _lost(connection, error):
                raise refused(error) from error
            log.debug("libvirt went away (%s): connecting again", error)
        try:
            return action(self._reconnect(connection))
        except libvirt.libvirtError as error:
            raise refused(error) from error

    def close(self) -> None:
        """Let go of the connection."""
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.close()

    def _reconnect(self, lost: "libvirt.virConnect") -> "libvirt.virConnect":
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
            return libvirt.open(self.uri)
        except libvirt.libvirtError as error:
            text = error.get_error_message() or str(error)
            raise HostError(f"no libvirt at {self.uri}: {text}", hint=_connect_hint(text)) from error


@contextlib.contextmanager
def connected(uri: str) -> Iterator[Host]:
    """A host for the `with` block."""
    host = Host(uri)
    try:
        yield host
    finally:
        host.close()


def refused(error: "libvirt.libvirtError") -> LibvirtError:
    """libvirt's own text is the cause."""
    return LibvirtError(f"libvirt: {error.get_error_message() or error}")


def missing(error: "libvirt.libvirtError") -> bool:
    """The object that was asked for does not exist."""
    return error.get_error_code() in (
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
    )


def _lost(connection: "libvirt.virConnect", error: "libvirt.libvirtError") -> bool:
    # A dead connection reports all kinds of codes; whether it is alive is what tells.
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return True
    try:
        return not connection.isAlive()
    except libvirt.libvirtError:
        return True


def _connect_hint(text: str) -> str:
    if "No such file" in text or "Connection refused" in text:
        return "start it: systemctl start libvirtd (without systemd: virtlogd -d; libvirtd -d)"
    if "Permission denied" in text or "authentication" in text:
        return "use sudo, or join the group: usermod -aG libvirt $USER"
    return "vmlab host check"
