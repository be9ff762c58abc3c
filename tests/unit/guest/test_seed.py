import json
import shutil
import subprocess
from io import BytesIO
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest
import yaml

from vmlab.guest.openssh import KeyPair
from vmlab.guest.seed import SeedInterface, documents
from vmlab.runtime.archive import File
from vmlab.runtime.archive import archive as archived
from vmlab.runtime.iso import TOLD, iso

KEY = KeyPair(
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 AAAA oss1.ha"
)
MGMT = SeedInterface(
    "mgmt", "52:54:00:00:00:01", IPv4Interface("10.0.2.15/24"), None, IPv4Address("10.0.2.2"), IPv4Address("10.0.2.3")
)
IB0 = SeedInterface("ib0", "52:54:00:00:00:02", IPv4Interface("10.77.0.5/16"), 9000)


def told(**changes: Any) -> dict[str, str]:
    default = {"bed": "ha", "node": "oss1", "user": "root", "authorized_key": "ssh-ed25519 AAAA vmlab", "host_key": KEY}
    return documents(**{**default, "interfaces": (MGMT, IB0), **changes})


def parsed(documents: dict[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in documents.items()}


def test_network_is_static_and_matched_by_mac() -> None:
    assert parsed(told())["network-config"] == {
        "version": 2,
        "ethernets": {
            "0-mgmt": {
                "match": {"macaddress": "52:54:00:00:00:01"},
                "set-name": "mgmt",
                "accept-ra": False,
                "addresses": ["10.0.2.15/24"],
                "routes": [{"to": "0.0.0.0/0", "via": "10.0.2.2"}],
                "nameservers": {"addresses": ["10.0.2.3"]},
            },
            "0-ib0": {
                "match": {"macaddress": "52:54:00:00:00:02"},
                "set-name": "ib0",
                "accept-ra": False,
                "addresses": ["10.77.0.5/16"],
                "mtu": 9000,
            },
        },
    }


def suse_route(folder: Path, tmp_path: Path, *, default: str) -> list[str]:
    """Run what the seed says about routes, with an `ip` that knows of one default route, or of none; its calls."""
    (command,) = parsed(told())["user-data"]["bootcmd"]
    assert command[:2] == ["sh", "-c"]
    assert command[4:] == ["/etc/sysconfig/network", "mgmt", "10.0.2.2"]
    calls = tmp_path / "calls"
    ip = tmp_path / "ip"
    ip.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n[ "$3" != show ] || printf "%s" "{default}"\n')
    ip.chmod(0o755)
    argv = [*command[:4], str(folder), *command[5:]]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(argv, env=path, check=True)
    return calls.read_text().splitlines() if calls.exists() else []


def test_a_suse_guest_gets_the_default_route_that_cloud_init_does_not_write(tmp_path: Path) -> None:
    # Recorded: cloud-init 24.4 and main render this network-config for SLES without a route, with `gateway4` as well.
    folder = tmp_path / "network"
    folder.mkdir()
    calls = suse_route(folder, tmp_path, default="")
    assert (folder / "ifroute-mgmt").read_text() == "default 10.0.2.2 - -\n"
    assert calls == ["-4 route show default", "-4 route add default via 10.0.2.2 dev mgmt"]


def test_a_suse_guest_that_has_its_route_keeps_it(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    folder.mkdir()
    calls = suse_route(folder, tmp_path, default="default via 10.0.2.2 dev mgmt")
    assert (folder / "ifroute-mgmt").exists()
    assert calls == ["-4 route show default"]


@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_other_guests_are_left_alone(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "network"
    if kind == "file":  # RHEL
        folder.write_text("NETWORKING=yes\n")
    assert suse_route(folder, tmp_path, default="") == []
    assert not folder.is_dir()


def test_without_a_gateway_no_route_is_made() -> None:
    assert "bootcmd" not in parsed(told(interfaces=(IB0,)))["user-data"]


def test_interfaces_come_before_those_of_the_image() -> None:
    # Debian 12's /etc/netplan/90-default.yaml: DHCP on `en*`, which altnames of renamed interfaces fit, too.
    names = list(parsed(told())["network-config"]["ethernets"])
    assert max(names) < "all-en"


def test_user_data_pins_the_host_key_and_lets_only_the_key_in() -> None:
    text = told()["user-data"]
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert data["ssh_keys"] == {"ed25519_private": KEY.private, "ed25519_public": KEY.public}
    assert data["ssh_deletekeys"] is True
    assert data["ssh_authorized_keys"] == ["ssh-ed25519 AAAA vmlab"]
    assert (data["disable_root"], data["ssh_pwauth"], data["users"]) == (False, False, [])
    assert (data["hostname"], data["fqdn"], data["manage_etc_hosts"]) == ("oss1", "oss1", False)


def test_another_login_user_is_the_distributions_default_user_by_that_name() -> None:
    data = parsed(told(user="rocky"))["user-data"]
    assert data["users"] == ["default"]
    assert data["user"] == {"name": "rocky", "lock_passwd": True, "sudo": "ALL=(ALL) NOPASSWD:ALL"}


def test_instance_changes_with_any_content_and_only_then() -> None:
    def instance(**changes: Any) -> str:
        return str(parsed(told(**changes))["meta-data"]["instance-id"])

    same = instance()
    assert instance() == same
    changed = [
        instance(bed="hb"),
        instance(node="oss2"),
        instance(user="rocky"),
        instance(authorized_key="ssh-ed25519 BBBB vmlab"),
        instance(host_key=KeyPair("x", "y")),
        instance(interfaces=(MGMT,)),
    ]
    assert len({same, *changed}) == len(changed) + 1


HOSTILE = "a\nroot: {x: y}\n'\"`$(id)\\ #é\U0001f600"


def test_values_cannot_become_structure() -> None:
    data = parsed(told(node=HOSTILE, user=HOSTILE, authorized_key=HOSTILE, interfaces=()))
    assert data["user-data"]["hostname"] == HOSTILE
    assert data["user-data"]["user"]["name"] == data["meta-data"]["local-hostname"]
    assert "root" not in data["user-data"]


def test_iso_reads_back() -> None:
    from pycdlib import PyCdlib  # noqa: PLC0415

    wanted = told()
    image = PyCdlib()
    image.open_fp(BytesIO(iso(wanted)))
    assert image.pvd.volume_identifier.strip() == b"cidata"
    assert image.has_joliet()
    assert image.has_rock_ridge()
    for view in ("joliet_path", "rr_path"):
        for name, text in wanted.items():
            out = BytesIO()
            image.get_file_from_iso_fp(out, **{view: f"/{name}"})
            assert out.getvalue().decode() == text
    image.close()


@pytest.mark.skipif(shutil.which("isoinfo") is None, reason="isoinfo (genisoimage) is not installed")
@pytest.mark.parametrize("view", ["-R", "-J"])
def test_another_reader_agrees(tmp_path: Path, view: str) -> None:
    wanted = told()
    path = tmp_path / "seed.iso"
    path.write_bytes(iso(wanted))
    shown = subprocess.run(["isoinfo", "-d", "-i", path], capture_output=True, text=True, check=True).stdout
    assert "Volume id: cidata" in shown
    for name, text in wanted.items():
        argv = ["isoinfo", view, "-i", path, "-x", f"/{name}"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == text


def test_cloud_init_does_nothing_that_a_node_needs_not() -> None:
    """But for what an image's own configuration may have put work into: runcmd and scripts."""
    data = parsed(told())["user-data"]
    assert data["cloud_config_modules"] == ["set-passwords", "runcmd"]
    assert "package-update-upgrade-install" not in data["cloud_final_modules"]
    assert "scripts-user" in data["cloud_final_modules"]
    assert "cloud_final_modules" not in parsed(told(brief=False))["user-data"]


def first_line(disc: bytes) -> list[str]:
    return disc.partition(b"\n")[0].decode().split()


def test_a_disc_says_where_its_archive_lies(tmp_path: Path) -> None:
    archive = archived([File("etc/hostname", "what a shell unpacks" * 300)])
    disc = iso(told(), archive)
    word, digest, sector, sectors = first_line(disc)
    assert word == "vmlab-first-boot"
    path = tmp_path / "disc"
    path.write_bytes(disc)
    argv = ["dd", f"if={path}", "bs=2048", f"skip={sector}", f"count={sectors}", "status=none"]
    found = subprocess.run(argv, capture_output=True, check=True).stdout
    assert found.startswith(archive)
    assert not found[len(archive) :].strip(b"\0")
    assert first_line(iso(told(), archive))[1] == digest
    assert first_line(iso(told(), archive + bytes(512)))[1] != digest
    assert first_line(iso(told())) == ["vmlab-first-boot"]


def test_a_disc_says_where_the_program_of_its_archive_lies(tmp_path: Path) -> None:
    text = "whole=1\n" * 200
    disc = iso(told(), archived([], private=("run/vmlab",), first=File(TOLD, text)))
    word, digest, block, blocks = disc.splitlines()[1].decode().split()
    assert (word, digest) == ("vmlab-told", first_line(disc)[1])
    path = tmp_path / "disc"
    path.write_bytes(disc)
    argv = ["dd", f"if={path}", "bs=512", f"skip={block}", f"count={blocks}", "status=none"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout.rstrip(b"\0").decode() == text
    assert b"vmlab-told" not in iso(told(), archived([File("etc/hostname", text)]))


def test_documents_are_json() -> None:
    for text in told().values():
        json.loads(text.removeprefix("#cloud-config\n"))
