"""Who sits beside a bed while a long task runs: hears its kernels, and collects evidence before anything is ended."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from vmlab.errors import VmlabError
from vmlab.lab.beds.collect import Wanted, collect
from vmlab.lab.ground.hosts import Hosts
from vmlab.lab.ground.progress import Progress
from vmlab.lab.measuring.consoles import Consoles
from vmlab.suites.consoles import Event


class Bedside:
    """Of the bed `name`, whose consoles somebody reads already."""

    def __init__(self, hosts: Hosts, name: str, consoles: Consoles, progress: Progress) -> None:
        self._hosts = hosts
        self._name = name
        self._consoles = consoles
        self._progress = progress

    def begin(self) -> None:
        """From now on counts what `events` tells."""
        self._consoles.begin()

    def events(self) -> Mapping[str, tuple[Event, ...]]:
        """What kernels said since `begin`, by node."""
        return self._consoles.events()

    def say(self, line: str) -> None:
        """Tell the user."""
        self._progress.say(line)

    def collect(self, folder: Path, stem: str) -> str:
        """Evidence of all nodes, in a new folder there that begins with `stem`: its name, "" if there is none.

        Who was found dead by then hinders nobody any more: what is done to the bed next may reach the others.
        """
        name = next(name for n in count(1) if not (folder / (name := f"{stem}.{n}")).exists())
        self.say(f"collecting evidence in {folder / name}")
        try:
            collect(self._hosts, self._name, Wanted(), folder / name, texts={}, progress=self._progress)
        except VmlabError as error:
            self._progress.warn(f"no evidence: {error.message}")
            name = ""
        self._consoles.forget()
        return name
