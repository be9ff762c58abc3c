"""`host show` and `host capture`, on libvirt's test driver and on recorded hosts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vmlab.cli.app import app
from vmlab.errors import HostError, UsageError
from vmlab.inventory.model import HostInventory
from vmlab.lab.ground.recorded import capture, recorded
from vmlab.values.pci import PciAddress
from vmlab.virt.connection import Host
from vmlab.virt.inventory import inventory

ROOT = Path(__file__).parents[1]
HOSTS = sorted((ROOT / "hosts").iterdir())
DOMAIN = """
<domain type='test'>
  <name>foreign</name>
  <uuid>89ffe74b-c26a-4c71-b1e4-def8e237dd1c</uuid>
  <memory unit='GiB'>1</memory>
  <vcpu>2</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='8'/><vcpupin vcpu='1' cpuset='9'/></cputune>
  <numatune><memory mode='strict' nodeset='1'/></numatune>
  <os><type>hvm</type></os>
  <devices>
    <hostdev mode='subsystem' type='pci' managed='yes'>
      <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x0'/></source>
    </hostdev>
  </devices>
</domain>
"""


def run(*argv: str) -> str:
    result = CliRunner().invoke(app, ("host", *argv))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("folder", HOSTS, ids=lambda folder: folder.name)
def test_recorded_hosts_are_shown(folder: Path, golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "golden/hosts" / f"{folder.name}.txt", run("show", "--inventory", str(folder)))
    told = json.loads(run("show", "--inventory", str(folder), "-o", "json"))
    assert told["name"] == folder.name
    assert [cell["available_kib"] for cell in told["cells"]] == [None] * len(told["cells"])
    addresses = [function["address"] for function in told["functions"]]
    assert addresses == [str(PciAddress.parse(address)) for address in addresses]


def test_who_holds_what_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    for path in (ROOT / "hosts/nps4").rglob("*.*"):
        copy = folder / path.relative_to(ROOT / "hosts/nps4")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    (folder / "domains").mkdir()
    (folder / "domains/a.xml").write_text(DOMAIN.replace("0x41", "0x21").replace("function='0x0'", "function='0x3'"))
    (folder / "domains/b.xml").write_text(
        DOMAIN.replace("foreign", "b").replace("0x41", "0x61").replace("test'", "kvm' id='3'")
    )
    (folder / "facts.json").write_text('{"devices": {"0000:a1:00.0": {"broken": "its reset failed"}}}')
    lines = run("show", "--inventory", str(folder)).splitlines()
    line = {text.split()[0]: text for text in lines if text}
    assert "8/16  vf2: foreign (off)" in line["0000:21:00.0"]
    assert " b" in line["0000:61:00.0"]
    assert "its reset failed" in line["0000:a1:00.0"]
    assert line["b"].split() == ["b", "-", "-", "yes", "8-9", "1.0GiB@1", "-", "0000:61:00.0"]


@pytest.fixture
def test_host() -> Host:
    """The test driver's default host: two cells, one domain."""
    return Host("test:///default")


def without_what_is_free(found: HostInventory) -> object:
    cells = [(c.id, c.memory_kib, c.cpus, {p.size_kib: p.total for p in c.huge.values()}) for c in found.cells]
    return cells, found.arch, found.functions, found.claims, found.no_iommu


def test_what_is_captured_is_what_is_there(test_host: Host, tmp_path: Path) -> None:
    test_host.call(lambda connection: connection.defineXML(DOMAIN))
    count = capture(test_host, tmp_path / "new/h")
    files = [path for path in (tmp_path / "new/h").rglob("*") if path.is_file()]
    assert len(files) == count
    assert all("89ffe74b" not in path.read_text() for path in files)
    live, kept = inventory(test_host), recorded(tmp_path / "new/h")
    assert without_what_is_free(live) == without_what_is_free(kept)
    assert kept.name == "h"
    claims = {claim.domain: claim for claim in kept.claims}
    assert claims["test"].running
    assert (claims["foreign"].cpus, claims["foreign"].memory_kib) == (frozenset({8, 9}), {1: 1 << 20})
    assert [cell.id for cell in live.cells] == [0, 1]
    with pytest.raises(UsageError, match="not an empty folder"):
        capture(test_host, tmp_path / "new/h")


def test_a_folder_that_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is no record of a host: it has no capabilities"):
        recorded(tmp_path)
    with pytest.raises(HostError, match="is no record of a host"):
        recorded(tmp_path / "missing")
    (tmp_path / "capabilities.xml").mkdir()
    with pytest.raises(HostError):
        recorded(tmp_path)


def test_cpus_that_guests_are_kept_off_are_shown(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    shutil.copytree(ROOT / "hosts/fta-1s", folder)
    (folder / "facts.json").write_text('{"isolated_cpus": "2-11", "guest_cpus": "1-11"}')
    lines = run("show", "--inventory", str(folder)).splitlines()
    assert "Isolated, so that no vCPU floats over them: 2-11" in lines
    assert "All that the guests' cgroup may use: 1-11" in lines
    told = json.loads(run("show", "--inventory", str(folder), "-o", "json"))
    assert (told["isolated_cpus"], told["guest_cpus"]) == (list(range(2, 12)), list(range(1, 12)))
