"""How often a command looks at the host as a whole: as often as it must, and however many nodes a bed has.

libvirt's test driver stands for the host, and nobody answers behind its domains. Devices are counted besides: on the
test driver nobody has any, so that nobody may ask for them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import libvirt
import pytest
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.errors import GuestError
from vmlab.lab.beds import execute, reached
from vmlab.lab.filesystems import lustre_bed
from vmlab.lab.measuring import run as measuring
from vmlab.virt import inventory, observe

from .conftest import forget_beds

BED = """
name: ha
fabrics:
  net0: {kind: ethernet, lnet: tcp}
nodes:
  "mds[1-2]": {role: [mds, oss], memory: 256MiB, fabrics: [net0]}
  "client[1-NODES]": {role: client, memory: 256MiB, fabrics: [net0]}
filesystems:
  lustre:
    mgt: {servers: [mds1, mds2], size: 64MiB}
    mdts: [{servers: [mds1, mds2], size: 64MiB}]
    osts: [{servers: [mds1, mds2], size: 64MiB}]
"""
# In this order; the bed is there from the first to the last.
LOOKS = [
    (("plan", "bed.yaml"), 1),
    (("up", "bed.yaml", "--no-wait"), 1),
    (("up", "bed.yaml", "--no-wait"), 1),
    (("list",), 1),
    (("status", "ha"), 1),
    (("exec", "ha", "-n", "*", "--", "true"), 1),
    (("cp", "ha.client1:/etc/hostname", "."), 1),
    (("cp", "client1:/etc/hostname", "."), 1),
    (("power", "status", "ha"), 1),
    (("power", "cycle", "ha", "*"), 1),
    (("export", "ssh-config", "ha"), 1),
    (("export", "hosts", "ha"), 1),
    (("export", "xml", "ha"), 1),
    (("run", "bed.yaml", "lnet_selftest"), 1),
    (("lnet", "show", "bed.yaml"), 1),
    (("fs", "status", "bed.yaml"), 1),
    (("fs", "mount", "bed.yaml", "--timeout", "1m"), 1),
    (("fs", "failover", "bed.yaml", "mds1", "--timeout", "1m"), 1),
    # Whether it has an end at all depends on what guests run on, and that is looked up before anything is done.
    (("fs", "failover", "bed.yaml", "mds1"), 2),
    (("image", "list"), 1),
    (("gc",), 1),
    # After each removal it is looked whether anything is left, as a console that its guest had open.
    (("rebuild", "bed.yaml", "-y"), 3),
    (("down", "ha", "-y"), 2),
]


class Nobody:
    """A door behind which nobody answers."""

    def __init__(self, node: str) -> None:
        self.node = node

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def connect(self, *_: Any, **__: Any) -> None:
        raise GuestError(f"{self.node} does not answer", node=self.node, stage="ssh")

    run = copy = connect


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path) -> Iterator[list[str]]:
    """What was looked at."""
    seen: list[str] = []
    for name in ("state", "pool", "lock"):
        monkeypatch.setenv(f"VMLAB_{name.upper()}_DIR", str(tmp_path / name))
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "test:///default")
    monkeypatch.chdir(tmp_path)
    for module, name in ((observe, "locate"), (inventory, "_inventory")):  # each look begins by that
        real = getattr(module, name)

        def counted(*given: Any, _real: Any = real, _name: str = name, **how: Any) -> Any:
            seen.append(_name)
            return _real(*given, **how)

        monkeypatch.setattr(module, name, counted)
    for module in (execute, lustre_bed, measuring, reached):
        monkeypatch.setattr(module, "doors", lambda _, bed, *_there: {name: Nobody(name) for name in bed.nodes})
    kept = libvirt.open("test:///default")  # all beds are gone with the last connection
    assert CliRunner().invoke(app, ("image", "import", "demo", str(disk))).exit_code == 0
    yield seen
    kept.close()
    del kept
    forget_beds()


@pytest.mark.parametrize("nodes", [1, 12])
def test_a_command_looks_no_more_often_than_it_must(looks: list[str], tmp_path: Path, nodes: int) -> None:
    (tmp_path / "bed.yaml").write_text(BED.replace("NODES", str(nodes)))
    found = []
    for argv, _ in LOOKS:
        looks.clear()
        result = CliRunner().invoke(app, argv)
        assert not isinstance(result.exception, AssertionError | TypeError | AttributeError), result.output
        found.append((argv, len(looks)))
        assert "_inventory" not in looks, argv
    assert found == LOOKS
