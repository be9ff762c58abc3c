"""Images of an image and packages: built in a real guest, and booted. The tests go in this order."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vmlab.lab.bed import DEFAULT_URI
from vmlab.lab.image import folder as image_folder
from vmlab.store.images import Manifest, find
from vmlab.virt.connection import connected

from .conftest import Vmlab, remains

IMAGE, BED = "t-tiny", "t-of-tiny"
BUILD = f"build-{IMAGE}"
Deb = Callable[..., Path]

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb to make packages")


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Deb:
    """Makes a package of a few files, on the fly."""

    def make(name: str, files: dict[str, str], **fields: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        about = {"Package": name, "Version": "1.5", "Architecture": "all", "Maintainer": "t <t@example.org>", **fields}
        for path, content in ({"DEBIAN/control": "".join(f"{k}: {v}\n" for k, v in about.items())} | files).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        (root / "DEBIAN/control").write_text((root / "DEBIAN/control").read_text() + "Description: made for a test\n")
        if (postinst := root / "DEBIAN/postinst").exists():
            postinst.chmod(0o755)
        subprocess.check_call(["dpkg-deb", "--root-owner-group", "-b", root, f"{root}.deb"], stdout=subprocess.DEVNULL)
        return Path(f"{root}.deb")

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
def built(vmlab: Vmlab, store: Path, deb: Deb) -> Manifest:
    script = "#!/bin/sh\nmodprobe -n dummy && uname -r >/usr/share/vmlab-tiny/installed-on\n"
    package = deb("vmlab-tiny", {"usr/share/vmlab-tiny/hello": "hello\n", "DEBIAN/postinst": script})
    vmlab.run("image", "build", IMAGE, "--from", "demo", "--packages", str(package))
    return find(store, IMAGE)


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


def test_killed_build_leaves_what_down_and_the_next_build_remove(vmlab: Vmlab, store: Path, deb: Deb) -> None:
    package = deb("vmlab-slow", {"DEBIAN/postinst": "#!/bin/sh\nsleep 600\n"})
    process = vmlab.start("image", "build", IMAGE, "--from", "demo", "--packages", str(package))
    assert process.stderr is not None
    for line in process.stderr:
        if "apt-get install" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert remains(BUILD, vmlab) != []
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
    file.write_text(f"name: {BED}\nimage: {IMAGE}\nnodes:\n  n[1-2]: {{role: client}}\n")
    vmlab.run("up", str(file))
    answers = json.loads(
        vmlab.run("exec", BED, "-n", "*", "-o", "json", "--", "cat", "/usr/share/vmlab-tiny/installed-on")
    )
    assert {answer["stdout"].strip() for answer in answers} == {built.kernel}
    told = json.loads(vmlab.run("exec", BED, "-n", "*", "-o", "json", "--", "cat", "/etc/machine-id"))
    assert len({answer["stdout"] for answer in told}) == 2
    vmlab.run("image", "rm", IMAGE, "--yes", status=4)
    vmlab.run("down", BED, "--yes")
