"""Which host, or kind of host, figures are from."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vmlab.records.run import RunRecord


@dataclass(frozen=True, slots=True)
class HostKind:
    """What is not given fits all. `cpu` and `hca` are shell patterns on the models that run records tell, in any case.

    `soft`: over soft-RoCE, or not.
    """

    name: str | None = None
    cpu: str | None = None
    hca: str | None = None
    accel: str | None = None
    soft: bool | None = None

    def unlike(self, record: RunRecord) -> str:
        """Why a run is not of this kind, in words; "" if it is: each of its hosts has to be."""
        return "; ".join(self._unlike(record))

    def _unlike(self, record: RunRecord) -> Iterator[str]:
        if self.accel is not None and self.accel != record.accel:
            yield f"for {self.accel}, and the run is {record.accel}"
        if self.soft is not None and self.soft != record.soft:
            yield f"for figures {_over(soft=self.soft)}, and the run's are {_over(soft=record.soft)}"
        wanted = {"name": self.name, "cpu": self.cpu, "hca": self.hca}
        asked = {what: pattern for what, pattern in wanted.items() if pattern is not None}
        if asked and not record.hosts:
            yield "for some hosts, and the run does not say where it was"
        for host in record.hosts:
            there = {"name": (host.name,), "cpu": (host.cpu,), "hca": tuple(host.hcas.values())}
            for what, pattern in asked.items():
                if not any(fnmatchcase(text.lower(), pattern.lower()) for text in there[what]):
                    has = ", ".join(there[what]) or "none"
                    yield f"for the host's {what} {pattern}, and that of {host.name} is {has}"


def _over(*, soft: bool) -> str:
    return "over soft-RoCE" if soft else "not over soft-RoCE"
