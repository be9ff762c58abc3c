"""The process that is a bed's power service: `python -m vmlab.lab.beds.serve URI HOST BED FOLDER`, see `channel`."""

import os
import sys
import threading
from pathlib import Path
from socket import AF_UNIX, socket

from vmlab.errors import BusyError, VmlabError
from vmlab.lab.beds.rights import Rights
from vmlab.lab.ground.hosts import only
from vmlab.runtime.log import log, open_lasting_log
from vmlab.runtime.wait import Deadline, sleep
from vmlab.service import process
from vmlab.service.conversation import converse
from vmlab.virt.channels import power_ends
from vmlab.virt.connection import Host, connected

_LOOK_EVERY_S = 1.0
_GONE_S = 15.0  # a domain is defined anew in between


class _Service:
    """A thread for each channel; what a guest does on its own keeps no other from being answered."""

    def __init__(self, host: Host, bed: str) -> None:
        self._hosts = only(host)
        self._host = host
        self._bed = bed
        self._talking: dict[tuple[str, int], str] = {}
        self._guard = threading.Lock()

    def run(self) -> None:
        """Return when the bed is gone."""
        seen = Deadline.after(_GONE_S)
        while not seen.passed:
            try:
                if self._look():
                    seen = Deadline.after(_GONE_S)
            except VmlabError as error:
                log.warning("libvirt cannot be asked: %s", error.message)
                seen = Deadline.after(_GONE_S)
            sleep(_LOOK_EVERY_S)

    def _look(self) -> bool:
        with self._guard:
            known = dict(self._talking)
        ends = power_ends(self._host, self._bed, known)
        for start, path in ends.sockets.items():
            if start not in known:
                with self._guard:
                    self._talking[start] = path
                threading.Thread(target=self._talk, args=(start, path), name=start[0], daemon=True).start()
        return ends.there

    def _talk(self, start: tuple[str, int], path: str) -> None:
        try:
            with socket(AF_UNIX) as connection:
                connection.connect(path)
                log.info("listening")
                converse(connection, Rights(self._hosts, self._bed, start[0]).act)
            log.info("its guest is gone")
        except OSError as error:
            log.warning("%s: %s", path, error.strerror or error)
            sleep(_LOOK_EVERY_S)
        finally:
            with self._guard:
                del self._talking[start]


def serve(uri: str, name: str, bed: str, place: Path) -> None:
    """Be the service until the bed is gone, or SIGTERM comes. Raises BusyError if there is one already."""
    with process.claimed(place):
        open_lasting_log(place / process.LOG)
        log.info("begins, process %d", os.getpid())
        with connected(uri, name=name) as host:
            _Service(host, bed).run()
        log.info("the bed is gone")


def main(uri: str, name: str, bed: str, place: str) -> int:
    """The process. A second one ends without a word."""
    try:
        serve(uri, name, bed, Path(place))
    except BusyError:
        return 0
    except VmlabError as error:
        sys.stderr.write(f"vmlab: {error.message}\n")
        return error.status
    return 0


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
