"""First boots of an image that vmlab has not made: a Debian 12 of mmdebstrap's, with systemd 252.

cloud-init makes its nodes what they are; those of the image that `image build --from` makes of it need none. Its kernel
is not told when a guest goes on as a copy (vmgenid), so there are no templates of it.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmlab.store.recipes.debian import apt_mirror

from . import identity
from .conftest import MINUTES, Vmlab, image_store, remains
from .deb import package

BED, BASE, LEAN = "t-debian12", "t-debian12", "t-debian12-lean"
NODES = {"lean": "10.95.0.11/24", "cloud": "10.95.0.12/24"}
TEXT = f"""
name: {BED}
fabrics:
  tcp0: {{kind: ethernet, subnet: 10.95.0.0/24, mtu: 1400, attach: virtio}}
nodes:
  lean: {{role: client, memory: 512MiB, fabrics: [tcp0], image: {LEAN}}}
  cloud: {{role: client, memory: 512MiB, fabrics: [tcp0], image: {BASE}}}
"""
PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "systemd-resolved", "iproute2", "netplan.io", "cloud-init", "openssh-server"),
    *("linux-image-cloud-amd64", "initramfs-tools"),
)
# What its initrd has: all that could be a host's would take an emulated guest longer than what is booted by it. The
# network's card is there, too, as in any other: udev has given it a name before the root file system is mounted.
EARLY = r"""
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/t"
printf '%s\n' virtio_pci virtio_blk virtio_net >"$1/usr/share/initramfs-tools/modules.d/t"
"""
# What costs an emulated guest time, and is not what this is about.
SPARED = "mitigations=off norandmaps init_on_alloc=0 lsm=capability audit=0 cryptomgr.notests"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def do(*argv: str | Path) -> None:
    done = subprocess.run(argv, env=PATH, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stderr}"


def disk_of(folder: Path) -> Path:
    """The distribution's packages and nothing else, with a manifest that says how it boots."""
    tree, raw, disk = folder / "tree", folder / "disk.raw", folder / "debian12.qcow2"
    do(
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={','.join(PACKAGES)}"),
        *('--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"'),
        *("--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*"),
        *("--dpkgopt=path-exclude=/usr/share/locale/*", f"--essential-hook={EARLY}"),
        *("bookworm", tree, apt_mirror()),
    )
    (tree / "etc/machine-id").write_text("")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    files = {"disk": disk.name}
    for kind, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        (found,) = (tree / "boot").glob(pattern)
        files[kind] = found.rename(folder / kind).name
    do("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, raw, "2G")
    do("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk)
    raw.unlink()
    manifest = {"name": BASE, "cmdline": f"root=/dev/vda rw console=ttyS0 {SPARED}", "files": files}
    disk.with_suffix(".json").write_text(json.dumps(manifest))
    return disk


@pytest.fixture(scope="module")
def images(vmlab: Vmlab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both in the store; they go again."""
    folder = tmp_path_factory.mktemp("debian12")
    try:
        vmlab.run("image", "import", BASE, str(disk_of(folder)))
        how = ("--from", BASE, "--packages", str(package(folder, "t-nothing", {})), "--no-check", "--accel", "tcg")
        vmlab.run("image", "build", LEAN, *how)
        yield
    finally:
        for name in (LEAN, BASE):
            if (image_store() / f"{name}.json").exists():
                vmlab.run("image", "rm", name, "--yes")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("bed") / "debian12.yaml"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture(scope="module")
def bed(vmlab: Vmlab, images: None, file: str) -> Iterator[Vmlab]:
    del images
    vmlab.run("up", file, "--accel", "tcg", "--warm", "only", status=4)
    assert "lean cannot be a template's clone: the image t-debian12-lean" in vmlab.complaints
    assert "its kernel lacks vmgenid" in vmlab.complaints
    planned = vmlab.json("plan", file)
    assert {node["name"]: node["first_boot"] for node in planned["nodes"]} == {"lean": "lean", "cloud": "cloud-init"}
    vmlab.run("up", file, "--accel", "tcg", deadline_s=10 * MINUTES)
    assert "lean boots, and is no template's clone: the image" in vmlab.complaints
    yield vmlab
    vmlab.run("down", BED, "--yes")
    assert remains(BED, vmlab) == []


def test_both_are_who_they_should_be(bed: Vmlab) -> None:
    found = {node: identity.told(bed, BED, node) for node in NODES}
    for node, address in NODES.items():
        identity.check(found[node], node, address, set(NODES))
    assert len(set(map(identity.host_key, found.values()))) == len(NODES)
    assert len(set(bed.on_all(BED, "cat /etc/machine-id").values())) == len(NODES)
    assert {node["stage"] for node in bed.json("status", BED)} == {"ready"}


def test_cloud_init_ran_in_one_of_them_only_and_nothing_failed(bed: Vmlab) -> None:
    ask = """
systemctl --version | sed 's/ (.*//;q'
ls /run/cloud-init/result.json /run/vmlab/first-boot 2>&-
systemctl --failed --no-legend
"""
    assert bed.on_all(BED, ask) == {
        "lean": "systemd 252\n/run/vmlab/first-boot",
        "cloud": "systemd 252\n/run/cloud-init/result.json",
    }


@pytest.mark.nightly
def test_they_stay_so_when_they_lose_their_power(bed: Vmlab, file: str) -> None:
    before = {node: identity.told(bed, BED, node) for node in NODES}
    bed.run("power", "cycle", BED, "lean,cloud", deadline_s=10 * MINUTES)
    bed.run("up", file, "--accel", "tcg", deadline_s=10 * MINUTES)
    assert {node: identity.told(bed, BED, node) for node in NODES} == before
