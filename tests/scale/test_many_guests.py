"""`up` and `run` from end to end with more guests than a process may comfortably have files open.

libvirt is its test driver; behind each address an sshd answers as the node that has it (`guests/serve.py`), and what
vmlab sends is run by a shell on the node's own files. All of it is in a network namespace in which those addresses are
local.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmlab.values.addresses import RANGE

HERE = Path(__file__).parent
ALONE = f'ip link set lo up && ip route add local {RANGE} dev lo && exec "$@"'

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and sshd are root's"),
    pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="openssh-server is not installed"),
]


@pytest.mark.parametrize(
    ("nodes", "files"),
    [(30, 90), pytest.param(500, 1024, marks=pytest.mark.scale)],
)
def test_more_guests_than_files_to_spare(tmp_path: Path, nodes: int, files: int) -> None:
    argv = ("unshare", "--net", "sh", "-c", ALONE, "sh", sys.executable, str(HERE / "driver.py"), str(tmp_path))
    done = subprocess.run(
        (*argv, str(nodes), str(files)), cwd=HERE.parents[1], check=False, capture_output=True, text=True
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    for command in told:
        print({name: value for name, value in command.items() if name != "said"})  # noqa: T201 (what it took)
        assert (command["status"], command["error"]) == (0, ""), command["said"]
        assert command["files"] <= files
    assert [command["command"] for command in told] == ["up", "up", "status", "exec", "run", "run"], done.stderr
    [record] = [json.loads(path.read_text()) for path in tmp_path.glob("state/runs/*-copy/run.json")]
    assert len(record["samples"]) == 2 * 2 * (2 + 8)
    assert {sample["labels"]["nodes"] for sample in record["samples"]} == {"2", "8"}
    assert len(record["commands"]) == 3 * 2 * (2 + 8)
    assert (record["faults"], record["problems"], record["trials"]) == ([], [], 2)
    late = [command["late_s"] for command in record["commands"]]
    print({"the last of a job began after": max(late)})  # noqa: T201 (how far apart)
    assert max(late) < 5
    roots = [path for path in (tmp_path / "guests").iterdir() if path.is_dir()]
    assert len(roots) == nodes
    for root in roots:
        assert len((root / "etc/hosts").read_text().splitlines()) == nodes + 3
        assert len((root / "etc/ssh/ssh_known_hosts").read_text().splitlines()) == 3
    size = sum(len(line) for line in (roots[0] / "etc/ssh/ssh_known_hosts").read_text().splitlines())
    assert size < 1000  # however many there are
