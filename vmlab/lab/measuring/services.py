"""The services of a measurement: begun, waited for, and ended when what needed them is over."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from vmlab.lab.measuring.commands import Commands, Keep
from vmlab.runtime.wait import Deadline
from vmlab.shell import script
from vmlab.workloads import Output, Service

_ASK_S = 60.0
_FELLOW_S = 1.0

_UNTIL_READY = script(__file__, "until_ready.sh")


@dataclass(slots=True)
class _Running:
    service: Service
    started: datetime
    future: "Future[Output]"

    @property
    def output(self) -> Output | None:
        """None while it runs, and where its guest was gone."""
        return self.future.result() if self.future.done() and self.future.exception() is None else None


class Services:
    """Those that run. `fault` is why the measurement failed, "" while it did not."""

    def __init__(self, commands: Commands) -> None:
        self.fault = ""
        self.running: list[_Running] = []
        self._commands = commands

    def begin(self, services: Sequence[Service], pool: ThreadPoolExecutor) -> None:
        """All at once; when this returns all are ready, or one has failed."""
        for service in services:
            self._commands.put(service)
        for service in services:
            future = pool.submit(self._commands.run, service)
            self.running.append(_Running(service, datetime.now(UTC), future))
        for one in self.running:
            self.fault = self.fault or self._not_ready(one)

    def failed(self) -> list[str]:
        """Why services failed until now, or in the moments that follow."""
        wait([one.future for one in self.running], timeout=_FELLOW_S)
        return [
            self._commands.failed(one.service, output)
            for one in self.running
            if (output := one.output) is not None and not output.ok
        ]

    def end(self, keep: Keep, *, lingering: bool) -> None:
        """Let each end in its time if `lingering`, or end it, and keep what it printed."""
        for one in self.running:
            stopped = self._stop(one, lingering)
            if (output := one.output) is not None:
                timed_out = output.timed_out and not stopped
                ended = replace(output, stopped=stopped, timed_out=timed_out)
                keep(one.service, self._commands.bring(one.service, ended), one.started)

    def _not_ready(self, one: _Running) -> str:
        service = one.service
        deadline = Deadline.after(service.ready_s)
        guest = self._commands.guests[service.node]
        ask = ("sh", "-c", _UNTIL_READY, "vmlab", *service.ready)
        while not guest.run(ask, deadline_s=_ASK_S, as_root=True).ok:
            if one.future.done():
                return self._commands.failed(service, one.future.result())
            if deadline.passed:
                return f"{service.name} on {service.node} is not ready after {service.ready_s:g} s"
        return ""

    def _stop(self, one: _Running, lingering: bool) -> bool:
        """Whether it had to be ended."""
        wait([one.future], timeout=one.service.linger_s if lingering else 0)
        if one.future.done():
            return False
        self._commands.end(one.service)
        wait([one.future])  # bounded: by its own deadline at the latest
        return True


@contextlib.contextmanager
def serving(services: Sequence[Service], commands: Commands, keep: Keep) -> Iterator[Services]:
    """Services while the body runs; where something failed nobody waits for them afterwards."""
    with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
        running = Services(commands)
        well = False
        try:
            running.begin(services, pool)
            yield running
            well = not running.fault
        finally:
            running.end(keep, lingering=well)
