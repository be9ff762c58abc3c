"""`-o json`: what arrives at the descriptor of standard output is one JSON document, whoever wrote there."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt
import pytest
import typer

from vmlab.cli.app import app
from vmlab.cli.options import Form
from vmlab.metrics import Metric, Sample
from vmlab.plan.snapshots import KeptDisk, Snapshot
from vmlab.records.run import RunRecord
from vmlab.store.runs import open_run
from vmlab.values import identity

BED = """
name: ha
image: demo
fabrics: {eth: {kind: ethernet, lnet: tcp}}
nodes: {"oss[1-2]": {role: [mds, oss, client], memory: 256MiB, fabrics: [eth]}}
filesystems:
  lustre:
    mgt: {servers: [oss1, oss2], size: 64MiB}
    mdts: [{servers: [oss1, oss2], size: 64MiB}]
    osts: [{servers: [oss2, oss1], size: 64MiB}]
"""
PLACED = """
name: placed
image: demo
fabrics: {ib0: {kind: infiniband, lnet: o2ib, attach: vf}}
nodes: {"fta[1-2]": {role: fta, cpus: 2, memory: 2GiB, fabrics: [ib0]}}
"""
NIGHT = "name: n\nentries: [{topology: bed.yaml, steps: [{command: {run: sync}}]}]\n"
HOSTS = Path(__file__).parents[1] / "hosts"

# Of each command how it is called here; guests are out of reach, so what needs them prints nothing or says so in JSON.
CALLS = {
    "plan": ["bed.yaml", "--accel", "tcg"],
    "list": [],
    "status": ["ha"],
    "exec": ["ha", "--", "true"],
    "collect": ["ha", "--to", "evidence"],
    "fault list": ["ha"],
    "snapshot list": ["ha"],
    "snapshot show": ["ha", "one"],
    "power": ["status", "ha"],
    "lnet show": ["bed.yaml"],
    "lnet ping": ["bed.yaml"],
    "fs status": ["bed.yaml"],
    "fs failover": ["bed.yaml", "oss1"],
    "fs failback": ["bed.yaml"],
    "run": ["bed.yaml", "rdma"],
    "workloads": [],
    "results list": [],
    "results show": ["20261121T030000Z-ha-rdma"],
    "results compare": ["20261121T030000Z-ha-rdma", "20261121T030000Z-ha-rdma"],
    "results trend": ["speed"],
    "results tag": ["20261121T030000Z-ha-rdma", "baseline"],
    "results note": ["20261121T030000Z-ha-rdma", "quiet"],
    "results rm": ["--bed", "nobodys"],
    "nightly": ["night.yaml", "--dry-run"],
    "submit": ["bed.yaml", "--dry-run"],
    "expected list": ["expected.yaml"],
    "gc": [],
    "image list": [],
    "warm list": [],
    "host check": [],
    "host show": [],
    "host share-memory": [],
    "sriov show": [],
}
NEED_GUESTS = {"exec", "host share-memory", "lnet ping", "fs status", "fs failover", "fs failback", "run"}


def with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, member in command.commands.items():
            yield from with_json(member, (*path, name))
    elif any(isinstance(parameter.default, Form) for parameter in command.params):
        yield " ".join(path)


def test_each_command_with_json_is_called_here() -> None:
    assert set(with_json(typer.main.get_command(app))) == set(CALLS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> Iterator[Path]:
    """A host with a bed and a run; the only `ssh` reaches nobody."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("json")
        for name in ("state", "pool", "lock"):
            patch.setenv(f"VMLAB_{name.upper()}_DIR", str(path / name))
        patch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
        patch.chdir(path)
        (path / "bin").mkdir()
        ssh = path / "bin/ssh"
        ssh.write_text("#!/bin/sh\necho 'ssh: connect to host: Connection refused' >&2\nexit 255\n")
        ssh.chmod(0o755)
        patch.setenv("PATH", f"{path}/bin:{os.environ['PATH']}")
        (path / "bed.yaml").write_text(BED)
        (path / "placed.yaml").write_text(PLACED)
        (path / "night.yaml").write_text(NIGHT)
        (path / "expected.yaml").write_text("expected: [{suite: sanity, tests: [27J], ticket: LU-18102}]")
        kept = libvirt.open("test:///default")
        assert called("image", "import", "demo", str(disk)) == 0
        assert called("up", "bed.yaml") == 0
        write_run(path / "state/runs")
        write_snapshot(path / "pool/beds", kept)
        yield path
        kept.close()


def write_run(runs: Path) -> None:
    at = datetime(2026, 11, 21, 3, tzinfo=UTC)
    with open_run(runs, at=at, bed="ha", workload="rdma") as run:
        nothing: tuple[Any, ...] = ()
        samples = (Sample(Metric("speed", "MiB/s", "higher", "speed"), 1.0),)
        times = (at.isoformat(), at.isoformat())
        record = RunRecord(run.id, "ha", "rdma", {}, "tcg", False, "0", *times, (), (), samples, *(nothing,) * 3)  # noqa: FBT003
        run.finish(record)


def write_snapshot(pool: Path, connection: "libvirt.virConnect") -> None:
    disk = KeptDisk(identity.snapshot_disk("ha", "one", "ha.oss1.root.qcow2"), "ha.oss1.root.qcow2")
    description = identity.snapshot_description("ha", "one")
    for name in (disk.file, description):
        xml = f"<volume><name>{name}</name><capacity>1</capacity></volume>"
        connection.storagePoolLookupByName("vmlab").createXML(xml)
    pool.mkdir(parents=True, exist_ok=True)
    (pool / description).write_text(Snapshot("ha", "one", "2026-11-21T03:00:00+00:00", (), (disk,)).text())


def called(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(argv, prog_name="vmlab")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", CALLS)
def test_standard_output_is_json(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    del folder
    capfd.readouterr()
    argv = CALLS[command]
    where = argv.index("--") if "--" in argv else len(argv)
    called(*command.split(), *argv[:where], "-o", "json", *argv[where:])
    said = capfd.readouterr()
    assert "internal error" not in said.err
    if said.out or command not in NEED_GUESTS:
        json.loads(said.out)


@pytest.mark.parametrize(("file", "recorded"), [("placed.yaml", "fta-2s"), ("oss-benchmark.yaml", "mixed")])
def test_standard_output_is_json_where_guests_are_placed(
    file: str, recorded: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    del folder
    capfd.readouterr()
    status = called("plan", file, "--inventory", str(HOSTS / recorded), "-o", "json")
    said = capfd.readouterr()
    assert status == 0, said.err
    assert all(node["cells"] for node in json.loads(said.out)["nodes"])
