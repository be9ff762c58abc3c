"""Disks that can be told to fail: udev's rule, what the device mapper tells, the script with a stand-in of it."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from vmlab.lustre import failing
from vmlab.values.fault import FAILING, Kind

# dmsetup 1.02.205 on 6.12, `dmsetup table`, with one disk of each kind.
TABLES = """\
vmlab-lustre-MDT0000: 0 2097152 flakey 254:32 0 0 60 1 error_reads
vmlab-lustre-OST0000: 0 2097152 flakey 254:48 0 0 60 1 error_writes
vmlab-lustre-OST0001: 0 2097152 thin 253:5 1 254:64
vmlab-lustre-OST0001-data: 0 128 linear 7:0 8192
vmlab-lustre-OST0001-fill: 0 128 thin 253:5 0
vmlab-lustre-OST0001-meta: 0 8192 linear 7:0 0
vmlab-lustre-OST0001-pool: 0 128 thin-pool 253:3 253:4 128 0 1 error_if_no_space
vmlab-lustre-OST0002: 0 2097152 linear 254:80 0
mds1_flakey: 0 2097152 flakey 254:96 0 0 1800 1 drop_writes
"""


def test_what_the_device_mapper_tells() -> None:
    assert failing.read_failing(TABLES) == {
        "lustre-MDT0000": (Kind.READS, "reads fail"),
        "lustre-OST0000": (Kind.WRITES, "writes fail"),
        "lustre-OST0001": (Kind.FULL, "writes find no space"),
    }
    assert failing.read_failing("No devices found\n") == failing.read_failing("vmlab-x: 0 1\n\n:") == {}


def test_udev_makes_the_device_by_whatever_name_the_disk_has() -> None:
    text = failing.rule("lustre-OST0000", "/dev/disk/by-id/virtio-lustre-OST0000")
    assert 'SYMLINK=="disk/by-id/virtio-lustre-OST0000", ACTION!="remove"' in text
    assert "create vmlab-lustre-OST0000 --table '0 $attr{size} linear $major:$minor 0'\"\n" in text
    assert 'KERNEL=="sdb"' in failing.rule("lustre-OST0000", "/dev/sdb")


class Kernel:
    """A dmsetup that has one table and writes down what it is told."""

    def __init__(self, folder: Path, table: str) -> None:
        self.bin, self.log = folder / "bin", folder / "log"
        self.bin.mkdir()
        for tool in ("sh", "rm", "truncate", "tail"):
            (self.bin / tool).symlink_to(shutil.which(tool) or "")
        self.tool("modprobe", "exit 0")
        self.tool("dmesg", "echo 'device-mapper: flakey: Unrecognised flakey feature requested'")
        self.tool("dmsetup", f"case $1 in table) echo {shlex.quote(table)} ;; info) exit 1 ;; esac")

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n')
        path.chmod(0o755)

    def run(self, kind: Kind | None) -> subprocess.CompletedProcess[str]:
        argv = failing.fault(kind, "lustre-OST0000")
        return subprocess.run(argv, env={"PATH": str(self.bin)}, capture_output=True, text=True, check=False)

    def told(self) -> list[str]:
        return [line.removeprefix("dmsetup ") for line in self.log.read_text().splitlines() if " table " not in line]


@pytest.mark.parametrize(("kind", "feature"), [(Kind.READS, "error_reads"), (Kind.WRITES, "error_writes")])
def test_the_new_table_is_there_before_anything_stands_still(tmp_path: Path, kind: Kind, feature: str) -> None:
    kernel = Kernel(tmp_path, "0 2048 linear 254:48 0")
    assert kernel.run(kind).returncode == 0
    name = "vmlab-lustre-OST0000"
    wanted = [
        "modprobe -q dm-flakey",
        f"load {name} --table 0 2048 flakey 254:48 0 0 60 1 {feature}",
        f"suspend --nolockfs {name}",
        f"resume {name}",
    ]
    assert kernel.told()[: len(wanted)] == wanted


@pytest.mark.parametrize("table", ["0 2048 flakey 254:48 0 0 60 1 error_reads", "0 2048 thin 253:5 1 254:48"])
def test_what_failed_passes_everything_on_again(tmp_path: Path, table: str) -> None:
    kernel = Kernel(tmp_path, table)
    assert kernel.run(None).returncode == 0
    assert kernel.told()[0] == "load vmlab-lustre-OST0000 --table 0 2048 linear 254:48 0"


def test_a_table_that_the_kernel_does_not_take_changes_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "0 2048 linear 254:48 0")
    kernel.tool("dmsetup", "case $1 in table) echo 0 2048 linear 254:48 0 ;; load) exit 1 ;; esac")
    done = kernel.run(Kind.READS)
    assert done.returncode == 1
    assert "Unrecognised flakey feature" in done.stderr
    assert not [line for line in kernel.told() if line.startswith(("suspend", "resume"))]


@pytest.mark.parametrize("kind", sorted(FAILING))
def test_a_disk_that_was_not_made_to_fail_is_told_apart(tmp_path: Path, kind: Kind) -> None:
    kernel = Kernel(tmp_path, "")
    assert kernel.run(kind).returncode == failing.NOT_MADE_TO
