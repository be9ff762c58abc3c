"""The steps' own commands, run on copies of the files: the paths are the one thing that differs from a guest.

A real sshd reads them, and a real ssh logs in: from one node to another, with nothing but what the steps wrote.
"""

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sshd import SSHD, Sshd

from vmlab.guest.keys import BedKeys
from vmlab.guest.trust import trust_steps
from vmlab.steps import Command, Step

KEYS = BedKeys(Path("ha"), bytes(32))
OLD_KNOWN = "# vmlab: begin\nmds1,10.0.2.10 ssh-ed25519 AAAA\noss1,10.0.2.11 ssh-ed25519 BBBB\n# vmlab: end\n"
OLD_AUTHORIZED = "# vmlab: begin\nssh-ed25519 AAAA root@mds1\nssh-ed25519 BBBB root@oss1\n# vmlab: end\n"


class Root:
    """A node's root file system with its host key in it; the `sshd` that is found first reads its configuration."""

    def __init__(self, folder: Path, node: str, names: Sequence[str] = ("127.0.0.1",)) -> None:
        self.folder = folder
        self.node = node
        self.names = (node, *names)
        for part in ("etc/ssh", "root", "run", "bin"):
            (folder / part).mkdir(parents=True)
        self.host_key = folder / "etc/ssh/ssh_host_ed25519_key"
        self.host_key.write_text(KEYS.host_key(node).private)
        self.host_key.chmod(0o600)
        self.config = folder / "etc/ssh/sshd_config"
        self.ssh = folder / "root/.ssh"
        sshd = folder / "bin/sshd"
        sshd.write_text(f'#!/bin/sh\nexec {SSHD} "$@" -f {self.config}\n')
        sshd.chmod(0o755)

    @property
    def steps(self) -> tuple[Step, ...]:
        certificates = KEYS.host_certificate(self.node, self.names), KEYS.root_certificate(self.node)
        return trust_steps(KEYS.authority, *certificates)

    def run(self, command: Command) -> "subprocess.CompletedProcess[str]":
        argv = [self.here(word) for word in command]
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)

    def here(self, text: str) -> str:
        for part in ("/etc/", "/root", "/run/"):
            text = text.replace(part, f"{self.folder}{part}")
        return text

    def holds(self) -> bool:
        return all(self.run(step.check).returncode == 0 for step in self.steps)

    def apply(self) -> None:
        for step in self.steps:
            for command in step.apply:
                done = self.run(command)
                assert done.returncode == 0, f"{step.name}: {done.stderr}"
        assert self.holds()


class Serving(Root):
    """A node whose sshd runs, from the configuration in its root."""

    def __init__(self, folder: Path, node: str, more: str = "", names: Sequence[str] = ("127.0.0.1",)) -> None:
        super().__init__(folder, node, names)
        self._sshd = Sshd(folder / "sshd", KEYS, node)
        self.port = self._sshd.port
        told = self._sshd.config.read_text().replace(str(self._sshd.folder / "host"), str(self.host_key))
        told = told.replace(str(self._sshd.folder / "authorized"), str(self.ssh / "authorized_keys"))
        told = told.replace(str(self._sshd.folder / "pid"), self.here("/run/sshd.pid"))
        self.config.write_text(more + told)
        self._sshd.config = self.config
        self._sshd.start()

    def listens_anew(self) -> None:
        """Its sshd has begun once more, after it was told to."""
        log = self._sshd.folder / "log"
        for _ in range(500):
            if log.read_text().count("Server listening") > 1:
                return
            threading.Event().wait(0.02)
        pytest.fail(log.read_text())

    def stop(self) -> None:
        self._sshd.stop()


def login(near: Root, far: Serving, name: str = "127.0.0.1") -> "subprocess.CompletedProcess[str]":
    """As root of `near` would: its identity, what it knows of others, and no questions."""
    options = {
        "IdentityFile": near.ssh / "id_ed25519",
        "UserKnownHostsFile": "none",
        "GlobalKnownHostsFile": near.folder / "etc/ssh/ssh_known_hosts",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": name,
        "IdentityAgent": "none",
        "BatchMode": "yes",
    }
    argv = ["ssh", "-F", "none", "-p", str(far.port), *(f"-o{name}={value}" for name, value in options.items())]
    return subprocess.run([*argv, "root@127.0.0.1", "echo in"], check=False, capture_output=True, text=True)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="somebody logs in as root")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "oss1", "oss1")


@pytest.fixture(params=["", "Include /etc/ssh/sshd_config.d/*.conf\n"], ids=["one file", "a folder"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    folder = tmp_path / "oss1"
    node = Serving(folder, "oss1", request.param.replace("/etc/", f"{folder}/etc/"))
    yield node
    node.stop()


@as_root
def test_one_node_logs_in_to_another(serving: Serving, tmp_path: Path) -> None:
    other = Root(tmp_path / "mds1", "mds1")
    other.config.touch()
    (other.folder / "run/sshd.pid").write_text("")
    for step in other.steps[:-1]:
        assert all(other.run(command).returncode == 0 for command in step.apply)
    assert not serving.holds()
    assert "Host key verification failed" in login(other, serving).stderr
    serving.apply()
    serving.listens_anew()
    for name in ("127.0.0.1", "oss1"):
        done = login(other, serving, name)
        assert done.stdout == "in\n", done.stderr
    assert "Host key verification failed" in login(other, serving, "mds1").stderr


@as_root
def test_a_node_of_another_bed_is_not_let_in(serving: Serving, tmp_path: Path) -> None:
    serving.apply()
    serving.listens_anew()
    stranger = Root(tmp_path / "mds1", "mds1")
    for step in stranger.steps[:-1]:
        assert all(stranger.run(command).returncode == 0 for command in step.apply)
    others = BedKeys(Path("other"), bytes(31) + b"1")
    (stranger.ssh / "id_ed25519").write_text(others.host_key("mds1").private)
    (stranger.ssh / "id_ed25519-cert.pub").write_text(others.root_certificate("mds1"))
    assert "Permission denied" in login(stranger, serving).stderr


def test_to_see_that_they_hold_takes_no_process(serving: Serving) -> None:
    serving.apply()
    bare = {"PATH": f"{serving.folder}/bin"}  # where nothing but sshd is
    for step in serving.steps:
        shell, *words = map(serving.here, step.check)
        assert (shell, step.at_once) == ("sh", True)
        done = subprocess.run(["/bin/sh", *words], check=False, capture_output=True, text=True, env=bare)
        assert (done.returncode, done.stderr) == (0, ""), step.name


def test_a_configuration_that_sshd_does_not_take_is_not_left(serving: Serving) -> None:
    serving.config.write_text(f"Nonsense\n{serving.config.read_text()}")
    done = serving.run(serving.steps[-1].apply[0])
    assert done.returncode
    assert "1 bad configuration options" in done.stderr
    assert not serving.holds()
    assert not list((serving.folder / "etc/ssh").glob("**/*-cert.pub"))


def test_files_are_for_whom_they_are(serving: Serving) -> None:
    serving.config.chmod(0o600)
    serving.apply()
    assert serving.ssh.stat().st_mode & 0o777 == 0o700
    assert (serving.ssh / "authorized_keys").stat().st_mode & 0o777 == 0o600
    assert (serving.ssh / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert (serving.folder / "etc/ssh/ssh_known_hosts").stat().st_mode & 0o777 == 0o644
    assert serving.config.stat().st_mode & 0o777 == 0o600


def test_what_an_older_vmlab_wrote_is_replaced(serving: Serving) -> None:
    serving.ssh.mkdir(mode=0o700)
    (serving.folder / "etc/ssh/ssh_known_hosts").write_text(OLD_KNOWN)
    (serving.ssh / "authorized_keys").write_text(f"ssh-ed25519 CCCC vmlab\n{OLD_AUTHORIZED}")
    (serving.ssh / "id_ed25519").write_text(KEYS.host_key("oss1").private)
    serving.apply()
    known = (serving.folder / "etc/ssh/ssh_known_hosts").read_text().splitlines()
    assert known[1:-1] == [f"@cert-authority * {KEYS.authority}"]
    authorized = (serving.ssh / "authorized_keys").read_text().splitlines()
    assert authorized[0] == "ssh-ed25519 CCCC vmlab"
    assert authorized[2:-1] == [f"cert-authority {KEYS.authority}"]
    assert (serving.ssh / "id_ed25519-cert.pub").exists()


def test_a_new_address_is_a_change(serving: Serving) -> None:
    serving.apply()
    serving.names = (*serving.names, "10.77.1.11")
    assert not serving.holds()
    serving.apply()
    told = [path.read_text() for path in serving.config.parent.glob("**/*config*") if path.is_file()]
    told += [path.read_text() for path in serving.config.parent.glob("sshd_config.d/*")]
    assert "".join(told).count("HostCertificate") == 1


def test_keys_of_others_stay(serving: Serving) -> None:
    serving.ssh.mkdir()
    (serving.ssh / "authorized_keys").write_text("ssh-ed25519 AAAA somebody\n")
    (serving.ssh / "id_ed25519").write_text("the image's own\n")
    serving.apply()
    assert (serving.ssh / "authorized_keys").read_text().startswith("ssh-ed25519 AAAA somebody\n")
    assert (serving.ssh / "id_ed25519").read_text() == "the image's own\n"
    certificate = serving.ssh / "id_ed25519-cert.pub"
    certificate.unlink(missing_ok=True)
    assert serving.holds()


def test_a_guest_without_openssh_is_left_alone(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.folder / "bin/sshd").unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    root.apply()
    assert not list((root.folder / "etc/ssh").glob("*-cert.pub"))


def test_a_node_is_told_its_own_part(root: Root) -> None:
    told = "\n".join(word for step in root.steps for command in (step.check, *step.apply) for word in command)
    assert KEYS.host_key("mds1").public.split()[1] not in told
    assert "PRIVATE KEY" not in told
    assert len(told) < 16 << 10
