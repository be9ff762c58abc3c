"""What two clients do at once with real Lustre, or with each other, on the image that VMLAB_LUSTRE_IMAGE names.

What the image lacks of the programs is skipped: io500, OSU's benchmarks. The tests go in this order.
"""

# ruff: noqa: T201 (what was measured is printed)

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from . import small_io500
from .conftest import Vmlab, remains
from .timed import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BED = "t-clients"
NODE = {"image": IMAGE, "cpus": 1, "fabrics": ["eth"], "pin": "shared", "numa": "none"}
TOPOLOGY = {
    "name": BED,
    "hosts": {"local": {"reserve": {"cpus": 0, "memory": "0B"}}},
    "fabrics": {"eth": {"kind": "ethernet", "lnet": "tcp"}},
    "nodes": {
        "s1": {**NODE, "memory": "1GiB", "role": ["mds", "oss"]},
        "c[1-2]": {**NODE, "memory": "768MiB", "role": "client"},
    },
    "filesystems": {
        "lustre": {
            "mgt": {"servers": "s1", "size": "256MiB"},
            "mdts": [{"servers": "s1", "size": "512MiB"}],
            "osts": [{"servers": "s1", "size": "1GiB"}],
        }
    },
}
SIZES = {"1024", "2048", "4096"}
OF_PAIRS = {"latency", "bw", "bibw", "mbw_mr"}
OF_ALL = {"allreduce", "reduce", "allgather", "alltoall", "bcast"}


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Timed:
    return Timed(vmlab)


@pytest.fixture(scope="module")
def bed(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("clients") / f"{BED}.yaml"
    file.write_text(yaml.safe_dump(TOPOLOGY, sort_keys=False))
    run("up", str(file), "--timeout", "20m")
    yield str(file)
    run("down", BED, "--yes")
    assert remains(BED, run.vmlab) == []


def on(run: Timed, node: str, command: str) -> str:
    return run("ssh", BED, node, "--", "sh", "-c", command)


def told(record: dict[str, Any], *labels: str) -> dict[tuple[str, ...], float]:
    """Its figures by their metric and those labels, printed. Nothing of it may have failed."""
    assert (record["problems"], record["faults"], record["skipped"]) == ([], [], [])
    found = {(s["metric"], *(s["labels"].get(name, "") for name in labels)): s["value"] for s in record["samples"]}
    for key, value in found.items():
        print(*key, f"{value:.4f}")
    assert all(value > 0 for value in found.values())
    return found


def test_io500_runs_on_two_nodes(run: Timed, bed: str) -> None:
    if "no io500" in on(run, "c1", "command -v io500 || echo no io500"):
        pytest.skip(f"the image {IMAGE} has no io500")
    record = run.json("run", bed, *small_io500.OPTIONS)
    found = told(record, "phase", "valid")
    assert {key[1] for key in found} >= small_io500.PHASES
    assert {(s["labels"]["nodes"], s["labels"]["tasks"]) for s in record["samples"]} == {("c[1-2]", "2")}
    assert ("score", "", "no") in found
    assert "not valid by IO500's rules" in json.dumps(record)
    assert on(run, "c1", "ls -d /mnt/lustre/vmlab-*; true") == ""


def test_osu_between_two_guests(run: Timed, bed: str) -> None:
    """Smaller messages are too slow for its two decimals there; a barrier has no size."""
    if not on(run, "c1", "find /usr /opt -name '*osu_latency'"):
        pytest.skip(f"the image {IMAGE} has no osu_latency")
    options = ("--set", "smallest=1KiB", "--set", "largest=4KiB", "--set", "iterations=20")
    record = run.json("run", bed, "osu", *options)
    found = told(record, "test", "size")
    assert {(s["labels"]["nodes"], s["labels"]["tasks"]) for s in record["samples"]} == {("c[1-2]", "2")}
    for test in OF_PAIRS:
        metric = "latency" if test == "latency" else "bandwidth"
        assert {key[2] for key in found if key[:2] == (metric, test)} == SIZES
    for key in [("barrier", ""), *((test, size) for test in OF_ALL for size in SIZES)]:
        mean, least, most = (found[metric, *key] for metric in ("latency", "latency_min", "latency_max"))
        assert least <= mean <= most


def test_a_survey_of_the_network_is_refused_since_lustre_has_none(run: Timed, bed: str) -> None:
    """2.16 and later: a server without OSTs was set up, and each transfer answered with EINVAL."""
    run("fs", "umount", bed)
    run("run", bed, "obdfilter_survey", "--set", "case=network", status=7)
    assert "Lustre has no echo client over an OSC since 2.16" in run.vmlab.complaints
    for node in ("c1", "s1"):
        assert on(run, node, "lctl dl | grep -c -i -e echo -e OSS; true") == "0\n"
    run("fs", "mount", bed)
    assert on(run, "c2", "echo here >/mnt/lustre/file && cat /mnt/lustre/file") == "here\n"
