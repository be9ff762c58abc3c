"""Images of an image and packages: built in a real guest, and booted. The tests go in this order."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmlab.lab.ground.bed import DEFAULT_URI
from vmlab.lab.ground.image_store import folder as image_folder
from vmlab.lab.hosts.gc import Leftover, collect, leftovers
from vmlab.store.images import Manifest, find
from vmlab.virt.connection import connected

from .conftest import Vmlab, remains
from .deb import package

IMAGE, BED = "t-tiny", "t-of-tiny"
BUILD = f"build-{IMAGE}"
Deb = Callable[..., Path]

pytestmark = [
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to make packages"),
    pytest.mark.usefixtures("boots"),
]


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Deb:
    """Makes one in a folder of its own."""

    def make(name: str, files: dict[str, str], **fields: str) -> Path:
        return package(tmp_path_factory.mktemp(name), name, files, **fields)

    return make


@pytest.fixture(scope="module")
def store(vmlab: Vmlab) -> Iterator[Path]:
    """The image store; the image that is built goes again, whatever happens."""
    with connected(DEFAULT_URI) as host:
        where = image_folder(host)
    yield where
    for name in (BED, BUILD):
        vmlab.run("down", name, "--yes")
    if (where / f"{IMAGE}.json").exists():
        vmlab.run("image", "rm", IMAGE, "--yes")


@pytest.fixture(scope="module")
def tiny(deb: Deb) -> Path:
    script = "#!/bin/sh\nmodprobe -n dummy && uname -r >/usr/share/vmlab-tiny/installed-on\n"
    return deb("vmlab-tiny", {"usr/share/vmlab-tiny/hello": "hello\n", "DEBIAN/postinst": script})


@pytest.fixture(scope="module")
def built(vmlab: Vmlab, store: Path, tiny: Path) -> Manifest:
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(tiny))
    return find(store, IMAGE)


@pytest.fixture
def clear(vmlab: Vmlab, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What `gc --apply` does, to image builds of these tests alone: whatever else lies on this machine stays."""
    monkeypatch.setenv("VMLAB_STATE_DIR", str(vmlab.state))

    def do() -> list[str]:
        with connected(DEFAULT_URI) as host:
            found = [item for item in leftovers(host, vmlab.state / "runs") if IMAGE in item.name]
            assert {item.kind for item in found} <= {"image build"}
            return [item.name for item in collect(host, found)]

    return do


def nothing_is_left(vmlab: Vmlab, store: Path) -> None:
    assert remains(BUILD, vmlab) == []
    assert not (store / f".build-{IMAGE}").exists()


def test_modules_for_another_kernel_are_refused_at_once(vmlab: Vmlab, store: Path, deb: Deb) -> None:
    package = deb("vmlab-module", {"lib/modules/9.9.9-other/extra/lustre.ko": "no module"})
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(package), status=2)
    boots = find(store, "demo").kernel
    assert f"has modules for kernel 9.9.9-other, and the image demo boots {boots}" in vmlab.complaints
    assert "start-domain" not in vmlab.complaints
    assert not (store / f"{IMAGE}.json").exists()


def test_what_is_missing_is_named_and_the_guest_is_gone(vmlab: Vmlab, store: Path, deb: Deb) -> None:
    package = deb("vmlab-needy", {}, Depends="vmlab-nowhere (>= 2)")
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(package), status=2)
    assert "vmlab-nowhere (>= 2) (needed by vmlab-needy)" in vmlab.complaints
    assert not (store / f"{IMAGE}.json").exists()
    nothing_is_left(vmlab, store)


def test_package_that_fails_to_install_says_so(vmlab: Vmlab, store: Path, deb: Deb) -> None:
    package = deb("vmlab-broken", {"DEBIAN/postinst": "#!/bin/sh\necho the disk is on fire >&2\nexit 3\n"})
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(package), status=6)
    assert "the disk is on fire" in vmlab.complaints
    assert "exit status 3" in vmlab.complaints
    nothing_is_left(vmlab, store)


def started(vmlab: Vmlab, package: Path, *stages: str) -> "subprocess.Popen[str]":
    """A build that has come to these stages, one after the other."""
    process = vmlab.start("image", "build", IMAGE, "--from", "demo", "--packages", str(package))
    assert process.stderr is not None
    for stage in stages:
        assert any(stage in line for line in process.stderr)
    return process


def killed(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_gc_leaves_a_build_alone_and_removes_a_killed_one(
    vmlab: Vmlab, store: Path, deb: Deb, clear: Callable[[], list[str]]
) -> None:
    package = deb("vmlab-slow", {"DEBIAN/postinst": "#!/bin/sh\nsleep 600\n"})
    process = started(vmlab, package, "apt-get install")
    assert clear() == []
    with connected(DEFAULT_URI) as host:
        assert collect(host, [Leftover("image build", IMAGE, "it is thought to be dead")]) == []
    assert process.poll() is None
    assert (store / f".build-{IMAGE}").exists()
    killed(process)
    assert remains(BUILD, vmlab) != []
    assert [item["name"] for item in vmlab.json("gc") if item["kind"] == "image build"] == [IMAGE]
    assert remains(BUILD, vmlab) != []
    assert clear() == [IMAGE]
    nothing_is_left(vmlab, store)


# Its volumes are there, and its domain is not; the image is half written; a guest of it is booted.
@pytest.mark.parametrize(
    "stages",
    [("define-domain",), ("write the image",), pytest.param(("has to boot", "ssh"), marks=pytest.mark.nightly)],
)
def test_killed_build_stores_nothing_and_gc_removes_all(
    vmlab: Vmlab, store: Path, tiny: Path, clear: Callable[[], list[str]], stages: tuple[str, ...]
) -> None:
    killed(started(vmlab, tiny, *stages))
    assert not (store / f"{IMAGE}.json").exists()
    assert clear() == [IMAGE]
    nothing_is_left(vmlab, store)


def test_bed_of_a_user_is_left_alone(vmlab: Vmlab, store: Path, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "bed.yaml"
    file.write_text(f"name: {BUILD}\nnodes:\n  build: {{role: build}}\n")
    vmlab.run("up", str(file), "--no-wait")
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(tiny), status=2)
    assert f"the image would be built in a bed {BUILD}, and there is one of yours" in vmlab.complaints
    assert [node["state"] for node in vmlab.json("status", BUILD)] == ["running"]
    vmlab.run("down", BUILD, "--yes")
    nothing_is_left(vmlab, store)


def test_image_is_built_and_nothing_else_is_left(vmlab: Vmlab, store: Path, built: Manifest) -> None:
    demo = find(store, "demo")
    assert built.carries["vmlab-tiny"] == "1.5"
    assert built.carries["perftest"] == demo.carries["perftest"]
    assert (built.user, built.kernel, built.cmdline) == (demo.user, demo.kernel, demo.cmdline)
    assert built.distribution.startswith("Debian GNU/Linux")
    assert (built.lustre, built.backends) == (None, ())
    for name in (built.files.kernel, built.files.initrd):
        assert name is not None
        assert (store / name).stat().st_size > 0
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", store / built.files.disk]))
    assert "backing-filename" not in info
    nothing_is_left(vmlab, store)


def test_image_has_no_identity(store: Path, built: Manifest, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    subprocess.check_call(["qemu-img", "convert", "-O", "raw", store / built.files.disk, raw])
    partition = f"{raw}?offset=1048576"

    def debugfs(command: str) -> str:
        argv = ["/usr/sbin/debugfs", "-R", command, partition]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert "hello" in debugfs("ls /usr/share/vmlab-tiny")
    assert "ssh_host_" not in debugfs("ls /etc/ssh")
    assert "00-vmlab" not in debugfs("ls /etc/ssh/sshd_config.d")
    assert "id_ed25519" not in debugfs("ls /root/.ssh")
    assert debugfs("cat /etc/machine-id") == ""
    assert debugfs("cat /root/.ssh/authorized_keys") == ""
    assert "vmlab" not in debugfs("cat /etc/hosts")
    assert debugfs("cat /etc/hostname") == "localhost\n"
    assert debugfs("cat /var/log/cloud-init.log") == ""
    assert "instance" not in debugfs("ls /var/lib/cloud")
    assert "vmlab" not in debugfs("ls /var/tmp")
    assert "10-cloud-init" not in debugfs("ls /etc/systemd/network")


def test_image_boots_with_what_was_installed(vmlab: Vmlab, built: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "bed.yaml"
    keeps = "hosts: {local: {reserve: {cpus: 0, memory: 0B}}}"
    file.write_text(f"name: {BED}\nimage: {IMAGE}\n{keeps}\nnodes:\n  n[1-2]: {{role: client}}\n")
    vmlab.run("up", str(file))
    answers = json.loads(
        vmlab.run("exec", BED, "-n", "*", "-o", "json", "--", "cat", "/usr/share/vmlab-tiny/installed-on")
    )
    assert {answer["stdout"].strip() for answer in answers} == {built.kernel}
    told = json.loads(vmlab.run("exec", BED, "-n", "*", "-o", "json", "--", "cat", "/etc/machine-id"))
    assert len({answer["stdout"] for answer in told}) == 2
    vmlab.run("image", "rm", IMAGE, "--yes", status=4)
    vmlab.run("down", BED, "--yes")


@pytest.mark.nightly  # a minute and a half until it is known not to
def test_image_that_does_not_boot_is_not_stored(vmlab: Vmlab, store: Path, built: Manifest, deb: Deb) -> None:
    script = "#!/bin/sh\nrm /usr/sbin/init; printf '#!/bin/sh\\nexit 1\\n' >/usr/sbin/init; chmod 755 /usr/sbin/init\n"
    arguments = ("--from", IMAGE, "--packages", str(deb("vmlab-endless", {"DEBIAN/postinst": script})))
    vmlab.run("image", "build", IMAGE, *arguments, status=6)
    assert "the new image is not stored, because a guest of it fails: build, stage" in vmlab.complaints
    assert "Kernel panic" in vmlab.complaints
    assert find(store, IMAGE) == built
    nothing_is_left(vmlab, store)
    vmlab.run("image", "build", IMAGE, *arguments, "--no-check")
    assert find(store, IMAGE).carries["vmlab-endless"] == "1.5"
    nothing_is_left(vmlab, store)
