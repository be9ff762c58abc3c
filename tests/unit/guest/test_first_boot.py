"""The archive that makes a clone its node, and the script of the image that unpacks it, run here in a folder."""

import os
import shlex
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from vmlab.guest.block import block, block_step
from vmlab.guest.first_boot import Identity, Trust, first_boot, template
from vmlab.guest.keys import BedKeys
from vmlab.guest.openssh import key_pair
from vmlab.guest.seed import SeedInterface
from vmlab.runtime.iso import iso
from vmlab.store.recipes.first_boot import files

MGMT = SeedInterface(
    "mgmt", "52:54:00:00:00:01", IPv4Interface("10.0.2.15/24"), None, IPv4Address("10.0.2.2"), IPv4Address("10.0.2.3")
)
TCP0 = SeedInterface("tcp0", "52:54:00:00:00:02", IPv4Interface("10.77.0.5/16"), 9000)
SCRIPT = next(file.text for file in files() if file.path == "usr/lib/vmlab/first-boot")


def identity(node: str = "oss1", user: str = "root") -> Identity:
    keys = BedKeys(Path("ha"), b"s" * 32)
    return Identity(
        node=node,
        user=user,
        machine_id=keys.machine_id(node),
        authorized_key=keys.public_key,
        host_key=keys.host_key(node),
        trust=Trust(keys.authority, keys.host_certificate(node, (node,)), keys.root_certificate(node)),
        interfaces=(MGMT, TCP0),
    )


def unpacked(archive: bytes) -> Mapping[str, tuple[str, int]]:
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        found = {member.name: (tar.extractfile(member), member.mode) for member in tar if member.isfile()}
        return {name: (file.read().decode(), mode) for name, (file, mode) in found.items() if file is not None}


def test_it_is_the_same_for_the_same_node_and_another_for_another() -> None:
    assert first_boot(identity()) == first_boot(identity())
    assert first_boot(identity()) != first_boot(identity("oss2"))


def test_the_program_has_the_files_of_the_archive() -> None:
    found = unpacked(first_boot(identity(user="debian")))
    told = found["run/vmlab/told"][0]
    assert len(told) % 512 == 0
    assert next(iter(found)) == "run/vmlab/told"
    calls = [words for words in map(shlex.split, shlex_lines(told)) if words and words[0] == "put"]
    files = {path: (text, 0o777 & ~int(mask, 8)) for _, mask, path, text in calls}
    assert files == {path: file for path, file in found.items() if not path.startswith("run/vmlab/")}


def shlex_lines(text: str) -> Iterator[str]:
    """Its commands: a line that ends within quotes goes on."""
    command = ""
    for line in text.splitlines(keepends=True):
        command += line
        if command.count("'") % 2 == 0:
            yield command
            command = ""


CARDS = """
set -e
for name in %s; do
    ip link add "$name" type veth peer name "peer-$name"
done
names='%s '
%s
echo "$batch" | ip -batch -
ip -br link show type veth | grep -v '^peer-' | while read -r card _ mac _; do echo "${card%%@*} $mac"; done
ip -4 -br address show | while read -r card _ address _; do echo "${card%%@*} $address"; done
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own is root's to make")
@pytest.mark.parametrize("names", ["mgmt tcp0", "tcp0 mgmt", "mgmt ib0", "ens3 ens4"])
def test_cards_are_called_as_they_should_be_whatever_a_template_called_them(names: str) -> None:
    """With real ip and cards, in a network namespace."""
    functions = SCRIPT[: SCRIPT.index("find_seed || exit 0")]
    told = unpacked(first_boot(identity()))["run/vmlab/told"][0]
    cards = "\n".join(line for line in told.splitlines() if line.startswith("card "))
    script = functions + CARDS % (names, names, cards)
    done = subprocess.run(("unshare", "-n", "sh", "-c", script), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"mgmt {MGMT.address}",
        f"mgmt {MGMT.mac}",
        f"tcp0 {TCP0.address}",
        f"tcp0 {TCP0.mac}",
    ]


def test_private_keys_are_roots_alone() -> None:
    found = unpacked(first_boot(identity()))
    private = [name for name, (text, _) in found.items() if "PRIVATE KEY" in text]
    assert private == ["run/vmlab/told", "etc/ssh/ssh_host_ed25519_key"]
    assert {found[name][1] for name in private} == {0o600}
    with tarfile.open(fileobj=BytesIO(first_boot(identity()))) as tar:
        assert {member.name: member.mode for member in tar if member.isdir()} == {
            "root/.ssh": 0o700,
            "run/vmlab": 0o700,
        }


def test_interfaces_are_found_by_their_addresses_and_set_up_by_their_names() -> None:
    found = unpacked(first_boot(identity()))
    assert (
        "MACAddress=52:54:00:00:00:02\nType=ether\n\n[Link]\nName=tcp0"
        in found["etc/systemd/network/10-vmlab-tcp0.link"][0]
    )
    mgmt, tcp0 = (found[f"etc/systemd/network/10-vmlab-{name}.network"][0] for name in ("mgmt", "tcp0"))
    assert {"Address=10.0.2.15/24", "Gateway=10.0.2.2", "DNS=10.0.2.3", "IPv6AcceptRA=no"} <= set(mgmt.splitlines())
    assert "MTUBytes=9000" in tcp0
    assert "Gateway" not in tcp0
    assert "MTUBytes" not in mgmt


def test_nobody_asks_for_a_templates_address_and_its_clone_has_its_own(guest: "Guest") -> None:
    """An image's own file may ask DHCP on whatever card there is, and a card that is up cannot be renamed."""
    key = key_pair(b"s" * 32, "template")
    guest.boots(iso({}, template(key, user="root", cards=("mgmt", "tcp0"), grow=False)))
    assert guest.networks() == {"10-vmlab-mgmt.network": "[Match]\nType=ether\n\n[Link]\nUnmanaged=yes\n"}
    assert guest.read("run/vmlab/template") == "mgmt tcp0\n"
    assert guest.read("root/.ssh/authorized_keys") == ""
    guest.boots(seed(identity()))
    assert set(guest.networks()) == {
        f"10-vmlab-{name}.{kind}" for name in ("mgmt", "tcp0") for kind in ("link", "network")
    }


def test_only_another_user_than_root_needs_sudo() -> None:
    assert "etc/sudoers.d/90-vmlab" not in unpacked(first_boot(identity()))
    told = unpacked(first_boot(identity(user="debian")))["etc/sudoers.d/90-vmlab"]
    assert told == ("debian ALL=(ALL) NOPASSWD:ALL\n", 0o440)


def test_a_block_is_what_its_step_wants(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(block("one line"))
    check = block_step("known hosts", str(path), "one line").check
    assert subprocess.run(check, check=False).returncode == 0
    path.write_text(block("another line"))
    assert subprocess.run(check, check=False).returncode == 1


class Guest:
    """A folder in the place of a guest's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("sys/block/vda", "sys/block/vdb", "dev", "etc/ssh", "proc/sys/kernel", "run"):
            (root / folder).mkdir(parents=True)
        (root / "root").mkdir()
        (root / "sys/block/vda/serial").write_text("root")
        (root / "sys/block/vdb/serial").write_text("seed")
        (root / "etc/passwd").write_text(f"root:x:{os.getuid()}:{os.getgid()}:root:{root}/root:/bin/sh\n")
        (root / "etc/machine-id").write_text("drawn at the first boot\n")
        (root / "etc/resolv.conf").write_text("")
        self.script = SCRIPT.replace('"/$2', f'"{root}/$2').replace('"/${2%', f'"{root}/${{2%')
        for path in ("/sys/block", "/dev/", "/etc/", "/run/vmlab", "/root/", "/proc/sys"):
            self.script = self.script.replace(path, f"{root}{path}")

    def boots(self, seed: bytes) -> str:
        (self.root / "dev/vdb").write_bytes(seed)
        done = subprocess.run(("sh", "-c", self.script), capture_output=True, text=True, check=True)
        return done.stdout

    def networks(self) -> Mapping[str, str]:
        return {file.name: file.read_text() for file in (self.root / "etc/systemd/network").iterdir()}

    def keeps(self) -> None:
        self.write("etc/vmlab/kept", self.read("run/vmlab/first-boot"))

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path / "guest")


def seed(told: Identity) -> bytes:
    return iso({"user-data": "#cloud-config\n"}, first_boot(told))


def test_a_clone_becomes_its_node(guest: Guest) -> None:
    assert guest.boots(seed(identity())) == "vmlab: first boot: oss1\n"
    keys = BedKeys(Path("ha"), b"s" * 32)
    assert guest.read("proc/sys/kernel/hostname") == "oss1\n"
    assert guest.read("etc/ssh/ssh_host_ed25519_key") == keys.host_key("oss1").private
    assert guest.read("root/.ssh/authorized_keys").splitlines() == [
        keys.public_key,
        "# vmlab: begin",
        f"cert-authority {keys.authority}",
        "# vmlab: end",
    ]
    assert (guest.root / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
    assert guest.read("root/.ssh/id_ed25519") == keys.host_key("oss1").private
    assert (guest.root / "root/.ssh/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert keys.authority in guest.read("etc/ssh/ssh_known_hosts")
    assert guest.read("etc/resolv.conf") == "nameserver 10.0.2.3\n"
    assert guest.read("etc/machine-id") == "drawn at the first boot\n"


def test_what_is_on_the_disk_is_left_alone_and_what_may_not_be_is_written_again(guest: Guest) -> None:
    guest.boots(seed(identity()))
    guest.write("etc/ssh/ssh_host_ed25519_key", "")
    guest.boots(seed(identity()))
    assert "PRIVATE KEY" in guest.read("etc/ssh/ssh_host_ed25519_key")
    guest.keeps()
    guest.write("etc/resolv.conf", "nameserver 10.9.9.9\n")
    guest.write("etc/ssh/ssh_host_ed25519_key", "the user's own")
    assert guest.boots(seed(identity())) == "vmlab: first boot: oss1\n"
    assert guest.read("etc/ssh/ssh_host_ed25519_key") == "the user's own"
    assert guest.read("run/vmlab/first-boot") == guest.read("etc/vmlab/kept")


def test_what_the_image_brought_stays(guest: Guest) -> None:
    (guest.root / "root/.ssh").mkdir(mode=0o700)
    brought = {"root/.ssh/id_ed25519": "the image's identity", "etc/ssh/ssh_known_hosts": "git.lab ssh-ed25519 AAAA\n"}
    for path, text in brought.items():
        guest.write(path, text)
    guest.boots(seed(identity()))
    assert {path: guest.read(path) for path in brought} == brought
    assert not (guest.root / "root/.ssh/id_ed25519-cert.pub").exists()


def test_a_copy_of_a_machine_becomes_another(guest: Guest) -> None:
    guest.boots(seed(identity()))
    guest.keeps()
    (guest.root / "etc/systemd/network/10-vmlab-ib9.link").write_text("of a fabric that is gone")
    (guest.root / "root/.ssh/authorized_keys").write_text("ssh-ed25519 AAAA somebody\n")
    assert guest.boots(seed(identity("oss2"))) == "vmlab: first boot: oss2\n"
    keys = BedKeys(Path("ha"), b"s" * 32)
    assert guest.read("etc/machine-id").strip() == keys.machine_id("oss2") != keys.machine_id("oss1")
    assert guest.read("etc/ssh/ssh_host_ed25519_key") == keys.host_key("oss2").private
    assert guest.read("root/.ssh/id_ed25519") == keys.host_key("oss2").private
    assert not (guest.root / "etc/systemd/network/10-vmlab-ib9.link").exists()
    assert guest.read("root/.ssh/authorized_keys").splitlines()[:2] == ["ssh-ed25519 AAAA somebody", keys.public_key]


def test_the_same_node_told_anew_is_the_same_machine(guest: Guest) -> None:
    guest.boots(seed(identity()))
    guest.keeps()
    guest.boots(seed(replace(identity(), interfaces=(MGMT,))))
    assert not (guest.root / "etc/systemd/network/10-vmlab-tcp0.network").exists()
    assert guest.read("etc/machine-id") == "drawn at the first boot\n"


def test_without_an_archive_cloud_init_has_its_turn(guest: Guest) -> None:
    assert guest.boots(iso({"user-data": "#cloud-config\n"})) == ""
    assert not (guest.root / "run/vmlab/first-boot").exists()
    (guest.root / "sys/block/vdb/serial").write_text("data")
    assert guest.boots(seed(identity())) == ""
    assert not (guest.root / "run/vmlab/first-boot").exists()
