"""Take the time of commands and calls, those that are compared in turn, so that a busy minute hits them all."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from vmlab.runtime.wait import now
from vmlab.store.images import Files, Manifest, add
from vmlab.virt.pool import IMAGES, folder

VMLAB = (str(Path(sys.executable).parent / "vmlab"),)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    begin = now()
    work()
    return now() - begin


def medians(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median seconds of each, taken in turn; a first round that fills the caches is not counted."""
    took: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, taken in zip(works, took, strict=True):
            lasted = seconds(work)
            if number:
                taken.append(lasted)
    return [median(taken) for taken in took]


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    """Run a command; CalledProcessError if it fails."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)


def empty_image(path: Path) -> None:
    """A disk that nothing boots from."""
    run("qemu-img", "create", "-q", "-f", "qcow2", str(path), "1G")


@contextmanager
def simulation() -> Iterator[Path]:
    """libvirt's test driver for all that runs inside, and a folder for vmlab's state, image `demo` and locks."""
    with tempfile.TemporaryDirectory(prefix="vmlab-benchmark-") as name:
        path = Path(name)
        inside = {f"VMLAB_{name}_DIR": str(path / name.lower()) for name in ("STATE", "POOL", "LOCK")}
        with environment(**inside, LIBVIRT_DEFAULT_URI="test:///default"):
            empty_image(path / "demo.qcow2")
            add(folder(IMAGES), Manifest(name="demo", files=Files(disk="demo.qcow2")), path)
            yield path


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Environment variables, for us and for the commands that we run, as they were before afterwards."""
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value


def pairs_of_servers(name: str, servers: int, clients: int, image: str = "demo") -> str:
    """A topology of one fabric whose servers are pairs, each with two targets; the first pair has the metadata."""
    osts = "\n".join(
        f"      - {{ servers: [{pair}], size: 1GiB }}"
        for first in range(1, servers - 1, 2)
        for pair in (f"oss{first}, oss{first + 1}", f"oss{first + 1}, oss{first}")
    )
    return f"""
name: {name}
image: {image}
fabrics:
  ib0: {{ kind: infiniband, lnet: o2ib, attach: virtio }}
nodes:
  "mds[1-2]": {{ role: mds, memory: 256MiB, fabrics: [ib0] }}
  "oss[1-{servers - 2}]": {{ role: oss, memory: 256MiB, fabrics: [ib0] }}
  "client[1-{clients}]": {{ role: client, memory: 256MiB, fabrics: [ib0] }}
filesystems:
  lustre:
    mgt: {{ servers: [mds1, mds2], size: 1GiB }}
    mdts: [{{ servers: [mds1, mds2], size: 1GiB }}]
    osts:
{osts}
"""
