"""IOR over the shape of a bed with real Lustre, on the image that VMLAB_LUSTRE_IMAGE names, if it has IOR."""

# ruff: noqa: T201 (what was measured is printed)

import json
import os
from pathlib import Path

import pytest
import yaml

from .conftest import Vmlab, remains
from .timed import LONG_S

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BED = "t-sweep"
NODE = {"image": IMAGE, "memory": "1GiB", "fabrics": ["eth"], "pin": "shared", "numa": "none"}
TOPOLOGY = {
    "name": BED,
    "sweep": {"bed": {"filesystems.lustre.osts.0.count": [1, 2]}},
    "hosts": {"local": {"reserve": {"cpus": 0, "memory": "0B"}}},
    "fabrics": {"eth": {"kind": "ethernet", "lnet": "tcp"}},
    "nodes": {"s1": {**NODE, "role": ["mds", "oss"], "cpus": 1}, "c1": {**NODE, "role": "client", "cpus": 1}},
    "filesystems": {
        "lustre": {
            "mgt": {"servers": "s1", "size": "256MiB"},
            "mdts": [{"servers": "s1", "size": "512MiB"}],
            "osts": [{"servers": "s1", "size": "512MiB", "count": 1}],
            "clients": "c1",
        }
    },
    "workloads": [{"ior": {"block": "32MiB", "transfer_sizes": ["1MiB"], "file_per_process": True}}],
}


def test_ior_is_measured_on_beds_of_two_shapes(vmlab: Vmlab, tmp_path: Path) -> None:
    """Each bed is made, measured and taken down; more OSTs are more targets that are formatted."""
    file = tmp_path / f"{BED}.yaml"
    file.write_text(yaml.safe_dump(TOPOLOGY, sort_keys=False))
    try:
        told = json.loads(vmlab.run("run", str(file), "-o", "json", deadline_s=4 * LONG_S))
    finally:
        vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []
    assert [run["shape"] for run in told] == [{"filesystems.lustre.osts.0.count": count} for count in ("1", "2")]
    for run in told:
        assert (run["problems"], run["faults"], run["skipped"]) == ([], [], [])
        found = {s["labels"]["operation"]: s["value"] for s in run["samples"] if s["metric"] == "bandwidth"}
        print(*run["shape"].items(), *(f"{operation} {value:.1f} MiB/s" for operation, value in found.items()))
        assert set(found) == {"write", "read"}
    assert len({run["series"] for run in told}) == 1
