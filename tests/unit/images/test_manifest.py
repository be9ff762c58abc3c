"""What a built image's manifest tells."""

import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from vmlab.errors import UsageError
from vmlab.guest.facts import LOOK, Facts, direct_cmdline
from vmlab.guest.forget import FORGOTTEN, forget_and_switch_off
from vmlab.lab.images.derive import bed_name
from vmlab.store.carried import backends, carried
from vmlab.store.images import Files, Manifest, check_name
from vmlab.topology import loads

VERSIONS = {
    "ior": "4.1.0",
    "openmpi-bin": "4.1.4-3+b1",
    "lustre-server-utils": "2.17.57-62-gc881f8e-1",
    "perftest": "4.5",
    "libc6": "2.36",
    "custom": "7",
    "iproute": "6.2",
}


def test_carries_products_what_was_there_and_what_came() -> None:
    lustre = "2.17.57_62_gc881f8e_dirty"
    found = carried(VERSIONS, before=["custom", "gone"], added=["lustre-server-utils"], lustre=lustre)
    assert found == {
        "custom": "7",
        "ior": "4.1.0",
        "iproute2": "6.2",
        "lustre": "2.17.57",
        "lustre-server-utils": "2.17.57-62-gc881f8e-1",
        "openmpi": "4.1.4-3+b1",
        "perftest": "4.5",
    }


@pytest.mark.parametrize(("said", "told"), [("2.15.5", "2.15.5"), ("2.10.8_213", "2.10.8"), ("2.14.0.1", "2.14.0.1")])
def test_lustre_s_release_is_that_of_its_module(said: str, told: str) -> None:
    assert carried({}, before=[], added=[], lustre=said) == {"lustre": told}


def test_image_without_lustre_carries_none() -> None:
    assert "lustre" not in carried(VERSIONS, before=["lustre"], added=[], lustre=None)


def test_backends_are_the_modules_that_are_there() -> None:
    assert backends(["osd_wbcfs", "lustre", "osd_ldiskfs"]) == ("ldiskfs", "wbcfs")
    assert backends(["lustre"]) == ()


def test_manifest_with_backends_reads_back() -> None:
    manifest = Manifest(name="lustre", backends=("ldiskfs",), carries={"lustre": "2.17.57"}, files=Files(disk="d"))
    assert Manifest.model_validate_json(manifest.model_dump_json(by_alias=True)) == manifest
    with pytest.raises(ValidationError):
        Manifest.model_validate({"name": "x", "backend": [], "files": {"disk": "d"}})


FACTS = """\
boots 6.1.0-50-amd64
machine x86_64
cmdline BOOT_IMAGE=/boot/vmlinuz-6.1.0-50-amd64 root=UUID=3b1f ro console=tty0 console=ttyS0,115200
distribution Debian GNU/Linux 12 (bookworm)
program apt-get
kernel /boot/vmlinuz-6.1.0-50-amd64
kernel /lib/modules/5.14.0-427.13.1.el9_4.x86_64/vmlinuz
"""


def test_facts_of_a_guest() -> None:
    facts = Facts.read(FACTS)
    assert (facts.boots, facts.machine) == ("6.1.0-50-amd64", "x86_64")
    assert facts.distribution == "Debian GNU/Linux 12 (bookworm)"
    assert facts.programs == {"apt-get"}
    assert facts.lacks == frozenset()
    assert Facts.read(f"{FACTS}lacks dirdata\n").lacks == {"dirdata"}
    assert facts.kernels == {"6.1.0-50-amd64", "5.14.0-427.13.1.el9_4.x86_64"}
    assert direct_cmdline(facts.cmdline) == "root=UUID=3b1f ro console=tty0 console=ttyS0,115200"


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("Invalid filesystem option set: dirdata", {"dirdata"}),
        ("", set()),
        ("mke2fs: Permission denied while trying to determine filesystem size", set()),
    ],
)
def test_a_guest_says_whether_its_mke2fs_has_lustre_s_patches(tmp_path: Path, said: str, lacks: set[str]) -> None:
    for tool, script in (("mke2fs", f"echo '{said}' >&2; exit 1"), ("systemctl", "")):
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(LOOK, env=path, capture_output=True, text=True, check=True)
    assert Facts.read(done.stdout).lacks == lacks


def test_kernel_that_is_booted_directly_has_a_serial_console() -> None:
    told = "BOOT_IMAGE=(hd0,gpt3)/vmlinuz-5.14 root=UUID=1 ro rootflags=subvol=@ initrd=/x quiet"
    assert direct_cmdline(told) == "root=UUID=1 ro rootflags=subvol=@ quiet console=ttyS0"


def test_bed_s_name_is_one_and_tells_images_apart() -> None:
    names = ["lustre", "lustre-2.17", "lustre-2-17", "9", "a" * 63, "a" * 62, "x_y", "x" * 25, "x" * 26]
    beds = [bed_name(name) for name in names]
    assert beds[0] == "build-lustre"
    assert len(set(beds)) == len(names)
    for bed in beds:
        assert loads('{"name": "%s", "nodes": {"build": {"role": "build"}}}' % bed).name == bed  # noqa: UP031


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a\n", "x" * 64, ".a"])
def test_names_that_no_image_has(name: str) -> None:
    with pytest.raises(UsageError, match="is no image's name"):
        check_name(name)


def test_forgetting_takes_values_as_arguments_only() -> None:
    command = forget_and_switch_off("ssh-ed25519 AAAAkey vmlab", "debian")
    assert command[:2] == ("sh", "-c")
    assert command[3:] == ("vmlab", "AAAAkey", "debian", FORGOTTEN)
    assert "AAAAkey" not in command[2]
