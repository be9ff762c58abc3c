"""vmlab's commands in one process that may have few files open, on libvirt's test driver with doubles of guests behind.

To be run in a network namespace of its own: driver.py FOLDER NODES LIMIT. Says a line of JSON for each command.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.store.images import Files, Manifest, add
from vmlab.topology import loads
from vmlab.virt.connection import Host, connected
from vmlab.virt.pool import IMAGES, folder

HERE = Path(__file__).parent
BED = "many"
URI = "test:///default"


def topology(nodes: int) -> str:
    """A twelfth of them are servers, in pairs."""
    servers = max(4, nodes // 24 * 2)
    osts = "".join(
        f"      - {{servers: [oss{n}, oss{n + 1}], size: 64MiB, count: 2}}\n" for n in range(1, servers - 1, 2)
    )
    return f"""
name: {BED}
fabrics:
  net0: {{kind: ethernet, lnet: tcp, attach: virtio}}
nodes:
  "mds[1-2]": {{role: mds, memory: 256MiB, fabrics: [net0]}}
  "oss[1-{servers - 2}]": {{role: oss, memory: 256MiB, fabrics: [net0]}}
  "client[1-{nodes - servers}]": {{role: client, memory: 256MiB, fabrics: [net0]}}
filesystems:
  lustre:
    mgt: {{servers: [mds1, mds2], size: 64MiB}}
    mdts: [{{servers: [mds1, mds2], size: 64MiB}}]
    osts:
{osts}"""


class Peak:
    """The most files that this process had open, and threads that it had, as looked at again and again."""

    def __init__(self) -> None:
        self.files = self.threads = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.files = max(self.files, sum(1 for _ in Path("/proc/self/fd").iterdir()))
            self.threads = max(self.threads, threading.active_count())
            time.sleep(0.01)


def command(peak: Peak, *argv: str) -> None:
    """What it took."""
    peak.files = peak.threads = 0
    begin, worked = time.monotonic(), time.process_time()
    done = CliRunner().invoke(app, argv)
    told = {
        "command": argv[0],
        "status": done.exit_code,
        "error": repr(done.exception) if done.exception else "",
        "seconds": round(time.monotonic() - begin, 1),
        "own_seconds": round(time.process_time() - worked, 1),
        "files": peak.files,
        "threads": peak.threads,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "said": done.output[-2000:],
    }
    print(json.dumps(told), flush=True)  # noqa: T201 (our result)


def main() -> None:
    """Bring a bed up twice, ask it, measure on it."""
    path, nodes, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for name in ("state", "pool", "lock"):
        os.environ[f"VMLAB_{name.upper()}_DIR"] = str(path / name)
    os.environ["LIBVIRT_DEFAULT_URI"] = URI
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", path / "demo.qcow2", "1G"), check=True)
    add(folder(IMAGES), Manifest(name="demo", files=Files(disk="demo.qcow2"), carries={"lustre": "2.15.6"}), path)
    example = (HERE.parents[1] / "docs" / "workloads.md").read_text().partition("`copy.py`.\n\n```python\n")[2]
    (path / "own").mkdir()
    (path / "own" / "copy.py").write_text(example.partition("```\n")[0])
    os.environ["VMLAB_WORKLOADS"] = str(path / "own")
    file = path / "many.yaml"
    file.write_text(topology(nodes))
    names = list(loads(file.read_text(), "many.yaml").nodes)
    Host.has_guests = property(lambda _: True)  # type: ignore[method-assign, assignment]
    serve = ("setpriv", "--pdeathsig", "KILL", sys.executable, HERE / "guests/serve.py", BED, path / "guests", *names)
    guests = subprocess.Popen(serve, stdout=subprocess.PIPE)
    assert guests.stdout is not None
    assert guests.stdout.readline() == b"ready\n"
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    peak = Peak()
    with connected(URI):  # the driver's objects are gone with the last connection to it
        command(peak, "up", str(file), "--timeout", "30m", "--timings")
        command(peak, "up", str(file), "--timeout", "30m")
        command(peak, "status", BED)
        command(peak, "exec", BED, "-n", "*", "--", "true")
        command(peak, "run", str(file), "ior", "--set", "file_per_process=true", "--set", "block=1MiB")
        # A job over nodes, as a sweep of four points, twice: the page's example, by real ssh.
        sweep = ("--set", "block=[4k, 64k]", "--set", "nodes=[2, 8]", "--set", "blocks=1000")
        command(peak, "run", str(file), "copy", *sweep, "--trials", "2", "--warm-up", "1", "-o", "json")


if __name__ == "__main__":
    main()
