"""Runs as records, for whoever judges them: made up, and named so."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vmlab.metrics import Metric, Sample
from vmlab.records.run import RunHost, RunRecord
from vmlab.store.runs import open_run

SPEED = Metric("speed", "MiB/s", "higher", "speed")
DELAY = Metric("delay", "us", "lower", "delay")
FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)


HCA = "MT_0000000223 firmware 20.31.1014"


def some_host(name: str = "h1", cpu: str = "Intel Xeon Gold 6230", hca: str = HCA) -> RunHost:
    hcas = {"mlx5_0": hca} if hca else {}
    return RunHost(name, ("n1",), cpu, 40, 1 << 28, "6.12", "10.0.0", "QEMU 9.1.0", hcas, {}, {})


def figures(metric: Metric, values: Iterable[float], **labels: str) -> tuple[Sample, ...]:
    return tuple(Sample(metric, value, labels, trial) for trial, value in enumerate(values, start=1))


def some_run(*samples: Sample, day: int = 0, **more: Any) -> RunRecord:
    at = FIRST + timedelta(days=day)
    given: Mapping[str, Any] = {
        "id": f"{at:%Y%m%dT%H%M%SZ}-ha-copy",
        "bed": "ha",
        "workload": "copy",
        "options": {},
        "accel": "kvm",
        "soft": False,
        "vmlab": "0",
        "started": at.isoformat(),
        "ended": (at + timedelta(minutes=1)).isoformat(),
        "nodes": (),
        "commands": (),
        "samples": samples,
        "problems": (),
        "faults": (),
        "skipped": (),
        "trials": max((sample.trial for sample in samples), default=1),
        "hosts": (some_host(),),
    }
    return RunRecord(**{**given, **more})


def kept(runs_dir: Path, record: RunRecord) -> str:
    """Put it into the store; its ID there."""
    at = datetime.fromisoformat(record.started)
    with open_run(runs_dir, at=at, bed=record.bed, workload=record.workload) as run:
        run.finish(record if run.id == record.id else RunRecord(**{**_fields(record), "id": run.id}))
    return run.id


def _fields(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in RunRecord.__dataclass_fields__}
