"""The step's own commands, run on copies of the files: the paths are the one thing that differs from a guest."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vmlab.guest.keys import BedKeys
from vmlab.guest.trust import trust_steps
from vmlab.steps import Command, Step


class Root:
    """A root file system with a host key in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = BedKeys.fresh(folder / "ha")
        (folder / "etc/ssh").mkdir(parents=True)
        (folder / "root").mkdir()
        self.host_key = folder / "etc/ssh/ssh_host_ed25519_key"
        self.host_key.write_text(self.keys.host_key("oss1").private)
        self.host_key.chmod(0o640)
        self.ssh = folder / "root/.ssh"

    def run(self, command: Command) -> bool:
        argv = [
            word.replace("/etc/", f"{self.folder}/etc/").replace("/root", f"{self.folder}/root") for word in command
        ]
        return subprocess.run(argv, check=False, capture_output=True).returncode == 0

    def holds(self, *nodes: str) -> bool:
        return all(self.run(step.check) for step in self.steps(*nodes))

    def steps(self, *nodes: str) -> tuple[Step, ...]:
        return trust_steps(
            {n: (IPv4Address("10.0.2.10") + i, self.keys.host_key(n).public) for i, n in enumerate(nodes)}
        )

    def apply(self, *nodes: str) -> None:
        assert all(self.run(command) for step in self.steps(*nodes) for command in step.apply)
        assert self.holds(*nodes)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_ssh_accepts_what_is_written(root: Root) -> None:
    assert not root.holds("mds1", "oss1")
    root.apply("mds1", "oss1")
    identity = root.ssh / "id_ed25519"
    assert identity.stat().st_mode & 0o777 == 0o600
    public = subprocess.run(["ssh-keygen", "-y", "-f", identity], capture_output=True, text=True, check=True).stdout
    assert public.split()[1] in (root.ssh / "authorized_keys").read_text()
    known = root.folder / "etc/ssh/ssh_known_hosts"
    for name in ("oss1", "10.0.2.11"):
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", known], capture_output=True, text=True, check=True)
        assert public.split()[1] in found.stdout


def test_files_are_for_whom_they_are(root: Root) -> None:
    root.apply("mds1", "oss1")
    assert root.ssh.stat().st_mode & 0o777 == 0o700
    assert (root.ssh / "authorized_keys").stat().st_mode & 0o777 == 0o600
    assert (root.folder / "etc/ssh/ssh_known_hosts").stat().st_mode & 0o777 == 0o644


def test_keys_of_others_stay(root: Root) -> None:
    root.ssh.mkdir()
    (root.ssh / "authorized_keys").write_text("ssh-ed25519 AAAA somebody\n")
    (root.ssh / "id_ed25519").write_text("the image's own\n")
    root.apply("mds1", "oss1")
    assert (root.ssh / "authorized_keys").read_text().startswith("ssh-ed25519 AAAA somebody\n")
    assert (root.ssh / "id_ed25519").read_text() == "the image's own\n"


def test_another_node_is_a_change(root: Root) -> None:
    root.apply("mds1", "oss1")
    assert not root.holds("mds1", "oss1", "oss2")
    root.apply("mds1", "oss1", "oss2")
    assert not root.holds("mds1", "oss1")


def test_the_keys_of_two_thousand_nodes_are_no_argument_too_long_for_the_kernel(root: Root) -> None:
    names = [f"node{number:04}" for number in range(2000)]
    root.apply(*names)
    known = (root.folder / "etc/ssh/ssh_known_hosts").read_text().splitlines()
    assert len(known) == len(names) + 2
    assert known[-2].startswith("node1999,")
    longest = max(len(word.encode()) for step in root.steps(*names) for word in step.check)
    assert longest < 128 << 10
    assert not root.holds(*names[:-1])
