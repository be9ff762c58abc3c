"""The process of a bed's power service: `python -m vmlab.lab.beds.serve BED FOLDER HOST URI SSH ...`, see `channel`."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import AF_UNIX, socket

from vmlab.errors import BusyError, HostError, VmlabError
from vmlab.lab.beds.rights import Rights
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.socket_here import socket_here
from vmlab.runtime.log import log, open_lasting_log
from vmlab.runtime.wait import Deadline, sleep
from vmlab.service import process
from vmlab.service.conversation import converse
from vmlab.values.libvirt_uri import Way
from vmlab.values.ssh_uri import SshUri
from vmlab.virt.channels import power_ends
from vmlab.virt.connection import Away, Host

_LOOK_EVERY_S = 1.0
_GONE_S = 15.0  # a domain is defined anew in between
_AGAIN_S = 10.0


class _Service:
    """A thread for each host and for each channel; who does not answer keeps no other from being answered."""

    def __init__(self, ways: Mapping[str, Way], bed: str, place: Path) -> None:
        self._ways = ways
        self._bed = bed
        self._place = place
        unasked = HostError("it was not asked yet")
        self._hosts: dict[str, Host | Away] = {
            name: Away(name, way.uri, unasked, ssh=way.ssh) for name, way in ways.items()
        }
        self._gone: dict[str, Deadline | None] = dict.fromkeys(ways)
        self._over = threading.Event()
        self._talking: dict[str, dict[tuple[str, int], str]] = {name: {} for name in ways}
        self._guard = threading.Lock()

    def run(self) -> None:
        """Return when the bed is gone from all hosts; one that does not answer may have something of it."""
        for name in self._ways:
            threading.Thread(target=self._follow, args=(name,), name=name, daemon=True).start()
        while not all(gone is not None and gone.passed for gone in self._gone.values()):
            sleep(_LOOK_EVERY_S)
        self._over.set()

    def _follow(self, name: str) -> None:
        while not self._over.is_set():
            try:
                host = self._hosts[name]
                if isinstance(host, Away):
                    self._hosts[name] = host = Host(host.uri, name, host.ssh)
                self._gone[name] = None if self._look(host) else self._gone[name] or Deadline.after(_GONE_S)
            except VmlabError as error:
                self._lost(name, error)
                sleep(_AGAIN_S)
            sleep(_LOOK_EVERY_S)

    def _lost(self, name: str, error: VmlabError) -> None:
        log.warning("libvirt at %s cannot be asked: %s", name, error.message)
        self._gone[name] = None
        host = self._hosts[name]
        self._hosts[name] = Away(name, host.uri, error, ssh=host.ssh)
        if not isinstance(host, Away):
            host.close()

    def _look(self, host: Host) -> bool:
        with self._guard:
            known = dict(self._talking[host.name])
        ends = power_ends(host, self._bed, known)
        for start, path in ends.sockets.items():
            if start not in known:
                with self._guard:
                    self._talking[host.name][start] = path
                threading.Thread(target=self._talk, args=(host, start, path), name=start[0], daemon=True).start()
        return ends.there

    def _talk(self, host: Host, start: tuple[str, int], path: str) -> None:
        try:
            with socket_here(host, path, self._place) as place, socket(AF_UNIX) as connection:
                connection.connect(place)
                log.info("listening")
                converse(connection, lambda request: Rights(self._answering(), self._bed, start[0]).act(request))
            log.info("its guest is gone")
        except (OSError, VmlabError) as error:
            told = error.message if isinstance(error, VmlabError) else error.strerror or error
            log.warning("%s: %s", path, told)
            sleep(_LOOK_EVERY_S if host.local else _AGAIN_S)
        finally:
            with self._guard:
                del self._talking[host.name][start]

    def _answering(self) -> Hosts:
        now = dict(self._hosts)
        here = {name: host for name, host in now.items() if not isinstance(host, Away)}
        away = {name: host for name, host in now.items() if isinstance(host, Away)}
        return Hosts(here, away, next(iter(self._ways)))


def serve(hosts: Sequence[str], bed: str, place: Path) -> None:
    """Be the service until the bed is gone, or SIGTERM comes; of `hosts` name, URI and ssh ("" for none) by turns.

    Raises BusyError if there is one already.
    """
    words = zip(hosts[::3], hosts[1::3], hosts[2::3], strict=True)
    ways = {name: Way(uri, SshUri.parse(ssh) if ssh else None) for name, uri, ssh in words}
    with process.claimed(place, process.digest(hosts)):
        open_lasting_log(place / process.LOG)
        log.info("begins, process %d", os.getpid())
        _Service(ways, bed, place).run()
        log.info("the bed is gone")


def main(bed: str, place: str, *hosts: str) -> int:
    """The process. A second one ends without a word."""
    try:
        serve(hosts, bed, Path(place))
    except BusyError:
        return 0
    except VmlabError as error:
        sys.stderr.write(f"vmlab: {error.message}\n")
        return error.status
    return 0


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
