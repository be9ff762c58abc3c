"""What the lab host boots: a Debian with libvirt, vmlab's Python packages, and the QEMU of that same Debian.

That QEMU runs the lab host itself, too, with its own libraries and its own dynamic linker: igb needs QEMU 8, and what
Debian 12 has, 7.2, the outer libvirt goes on using. So all machines emulate the lab host with the same QEMU, and none
gets another APT source.
"""

import hashlib
import lzma
import os
import re
import shutil
import sys
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.process import Result, run
from vmlab.store.recipes import debian, kernel
from vmlab.store.recipes.debian import APT_CONFIG, CONTAINED, apt_mirror, bootstrap, environment, missing
from vmlab.store.recipes.kernel import Modules, initramfs, payload

_ROOT = Path(__file__).resolve().parents[2]
_RECIPE = Path(__file__).resolve().parent / "recipe"
_SUITE, _PYTHON = "trixie", "3.13"
_SIZE = 8 << 30  # of the root disk in bytes; its file is sparse
_INITRD = ("virtio_blk", "crc32c_generic", "ext4")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LINKER = "lib64/ld-linux-x86-64.so.2"
_FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin")
_NEEDED = ("mmdebstrap", "mke2fs", "zstd", "ssh-keygen")


def ensure_image(cache: Path) -> Path:
    """The folder of the image that the recipe asks for, built if it is not there; images of other recipes go."""
    folder = cache / f"image-{_key()}"
    if folder.is_dir():
        return folder
    if absent := missing(_NEEDED):
        raise HostError(f"building the lab host needs {', '.join(absent)}", hint="scripts/setup --test")
    work = cache / ".building"
    _as_root("rm", "-rf", str(work))
    (work / "out").mkdir(parents=True)
    try:
        _build(work)
        for old in cache.glob("image-*"):
            shutil.rmtree(old)
        (work / "out").rename(folder)
    finally:
        _as_root("rm", "-rf", str(work))
    return folder


def python_packages() -> str:
    """What vmlab needs of PyPI, from the lock; libvirt's binding is Debian's, which fits its libvirt."""
    locked = (_ROOT / "scripts/lock/vmlab.txt").read_text()
    return re.sub(r"^libvirt-python==.*\n(?: +--hash=.*\n)+", "", locked, flags=re.MULTILINE)


def _key() -> str:
    digest = hashlib.sha256(python_packages().encode())
    for file in (Path(__file__), Path(debian.__file__), Path(kernel.__file__), *sorted(_RECIPE.rglob("*"))):
        if file.is_file():
            digest.update(f"{os.path.relpath(file, _RECIPE)} {file.stat().st_mode:o}".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _build(work: Path) -> None:
    tree, out, added = work / "tree", work / "out", work / "added"
    _tell("lab host: unpacking Debian")
    _bootstrap(tree)
    _tell("lab host: adding vmlab's Python packages")
    shutil.copytree(_RECIPE / "files", added)
    _install_python(added / "opt/vmlab/python", work / "requirements.txt")
    _make_keys(out, added)
    _as_root("cp", "-rT", "--preserve=mode", "--no-preserve=ownership", str(added), str(tree))
    _as_root("chroot", str(tree), "sh", "-eu", "-s", stdin=(_RECIPE / "setup").read_text())
    _tell("lab host: writing the disk")
    release = next((tree / "usr/lib/modules").iterdir()).name
    _extract_kernel(tree, release, out)
    _extract_qemu(tree, out / "qemu")
    _as_root("sh", "-c", 'rm -rf "$1"/boot/* "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*', "sh", str(tree))
    disk = out / "root.raw"
    with disk.open("wb") as file:
        file.truncate(_SIZE)
    _as_root("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "nodiscard", "-d", str(tree), str(disk))


def _bootstrap(tree: Path) -> None:
    argv = bootstrap(_RECIPE, tree, _SUITE, apt_mirror(), _do(*APT_CONFIG).stdout)
    _as_root(*CONTAINED, *argv, deadline_s=1800)


def _install_python(folder: Path, requirements: Path) -> None:
    """For the lab host's Python, whatever ours is."""
    requirements.write_text(python_packages())
    pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", "--no-deps")
    _do(
        *(*pip, "--python-version", _PYTHON, "--only-binary", ":all:", "--require-hashes"),
        *("--target", str(folder), "-r", str(requirements)),
    )


def _make_keys(out: Path, added: Path) -> None:
    """The tests' key and the host's: both last as long as the image, so ssh asks nothing."""
    for private in (out / "key", added / "etc/ssh/ssh_host_ed25519_key"):
        _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab-host", "-f", str(private))
    allowed = added / "root/.ssh/authorized_keys"
    allowed.parent.mkdir(parents=True)
    allowed.write_text((out / "key.pub").read_text())
    public = (added / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (out / "known_hosts").write_text(f"lab-host {public}")


def _extract_kernel(tree: Path, release: str, out: Path) -> None:
    compressed = out / "vmlinux.zst"
    compressed.write_bytes(payload((tree / f"boot/vmlinuz-{release}").read_bytes()))
    # QEMU starts an ELF kernel by its PVH entry: emulated, unpacking one takes seconds.
    _do("zstd", "-dqf", "--rm", str(compressed), "-o", str(out / "vmlinux"))
    folder = tree / "usr/lib/modules" / release
    modules = Modules((folder / "modules.dep").read_text(), (folder / "modules.builtin").read_text())
    early = {}
    for path in modules.closure(_INITRD):
        content = (folder / path).read_bytes()
        name = Path(path).name.removesuffix(".xz")
        early[name] = lzma.decompress(content) if path.endswith(".xz") else content
    init = (tree / "usr/libexec/tiny-initramfs/init-static").read_bytes()
    (out / "initrd").write_bytes(initramfs(init, early))


def _extract_qemu(tree: Path, folder: Path) -> None:
    """QEMU's emulator, the libraries that it is linked to, its linker and firmware: see `qemu_command`."""
    binary, linker = tree / "usr/bin/qemu-system-x86_64", tree / "usr" / _LINKER
    listed = _do(str(linker), "--library-path", str(tree / _LIBRARIES), "--list", str(binary)).stdout
    (folder / "lib").mkdir(parents=True)
    for path in re.findall(r"=> (\S+)", listed):
        shutil.copy(path, folder / "lib")
    shutil.copy(linker, folder / "ld.so")
    shutil.copy(binary, folder)
    for source in ("usr/share/qemu", "usr/share/seabios"):
        for name in _FIRMWARE:
            if (tree / source / name).is_file():
                shutil.copy(tree / source / name, folder)


def qemu_command(image: Path) -> tuple[str, ...]:
    """The start of the command line of the image's own QEMU."""
    qemu = image / "qemu"
    linker = (str(qemu / "ld.so"), "--library-path", str(qemu / "lib"))
    return (*linker, str(qemu / "qemu-system-x86_64"), "-L", str(qemu))


def _as_root(*argv: str, deadline_s: float = 300, stdin: str | None = None) -> Result:
    """Unpacked packages are root's; the rest of the build needs no root."""
    sudo = () if os.geteuid() == 0 else ("sudo", "env", *(f"{name}={value}" for name, value in environment().items()))
    return _do(*sudo, *argv, deadline_s=deadline_s, stdin=stdin)


def _do(*argv: str, deadline_s: float = 300, stdin: str | None = None) -> Result:
    result = run(argv, deadline_s=deadline_s, stdin=stdin, env=environment())
    if not result.ok:
        cause = f"it took more than {deadline_s:.0f} s" if result.timed_out else result.stderr.strip()[-2000:]
        raise HostError(f"building the lab host: {' '.join(argv)[:200]}: {cause}")
    return result


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
