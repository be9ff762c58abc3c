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
import tomllib
from collections.abc import Iterator
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.process import Result, run
from vmlab.store.build import apt_mirror
from vmlab.store.recipes.kernel import File, Modules, cpio, payload

_ROOT = Path(__file__).resolve().parents[2]
_RECIPE = Path(__file__).resolve().parent / "recipe"
_SUITE, _PYTHON = "trixie", "3.13"
_SIZE = 8 << 30  # of the root disk in bytes; its file is sparse
_INITRD = ("virtio_blk", "crc32c_generic", "ext4")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LINKER = "lib64/ld-linux-x86-64.so.2"
_FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin")
_NEEDED = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "zstd": "zstd", "ssh-keygen": "openssh-client"}


def ensure_image(cache: Path) -> Path:
    """The folder of the image that the recipe asks for, built if it is not there; images of other recipes go."""
    folder = cache / f"image-{_key()}"
    if folder.is_dir():
        return folder
    missing = [package for tool, package in _NEEDED.items() if shutil.which(tool, path=_path()) is None]
    if missing:
        raise HostError(f"building the lab host needs {', '.join(missing)}", hint="scripts/setup --test")
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


def python_packages() -> list[str]:
    """What vmlab needs of PyPI; libvirt's binding is Debian's, which fits its libvirt."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    return sorted(name for name in project["dependencies"] if not name.startswith("libvirt-python"))


def _key() -> str:
    digest = hashlib.sha256("\n".join(python_packages()).encode())
    for file in (Path(__file__), *sorted(_RECIPE.rglob("*"))):
        if file.is_file():
            digest.update(f"{file.relative_to(Path(__file__).parent)} {file.stat().st_mode:o}".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _build(work: Path) -> None:
    tree, out, added = work / "tree", work / "out", work / "added"
    _tell("lab host: unpacking Debian")
    _bootstrap(tree)
    _tell("lab host: adding vmlab's Python packages")
    shutil.copytree(_RECIPE / "files", added)
    _install_python(added / "opt/vmlab/python")
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
    dump = _do("apt-config", "dump").stdout.splitlines()
    # What this machine's administrator decided on proxies, certificates and leniency holds for the image too.
    of_host = [line for line in dump if re.match(r"Acquire::(http|https|ftp|Check-|Retries|AllowInsecure)", line)]
    options = ['APT::Install-Recommends "false"', 'Acquire::Languages "none"']
    options += [line.rstrip(";") for line in of_host if not line.endswith('"";')]
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    argv += [f"--include={','.join(_lines('packages'))}"]
    argv += [f"--aptopt={option}" for option in options]
    argv += [f"--dpkgopt=path-exclude={path}" for path in _lines("excludes")]
    # If we are killed, so are it and all that it started, and its mounts are gone.
    _as_root(
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *(*argv, _SUITE, str(tree), apt_mirror()),
        deadline_s=1800,
    )


def _install_python(folder: Path) -> None:
    """For the lab host's Python, whatever ours is."""
    pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile")
    _do(*pip, "--python-version", _PYTHON, "--only-binary", ":all:", "--target", str(folder), *python_packages())


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
    files = [File("dev", 0o40755), File("proc", 0o40755), File("target", 0o40755)]
    names = []
    for path in modules.closure(_INITRD):
        content = (folder / path).read_bytes()
        name = Path(path).name.removesuffix(".xz")
        files.append(File(name, 0o100644, lzma.decompress(content) if path.endswith(".xz") else content))
        names.append(f"/{name}\n")
    files.append(File("modules", 0o100644, "".join(names).encode()))
    files.append(File("init", 0o100755, (tree / "usr/libexec/tiny-initramfs/init-static").read_bytes()))
    (out / "initrd").write_bytes(cpio(files))


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


def _lines(name: str) -> Iterator[str]:
    return (line for line in (_RECIPE / name).read_text().splitlines() if line and not line.startswith("#"))


def _path() -> str:
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def _environment() -> dict[str, str]:
    return {"PATH": _path(), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _as_root(*argv: str, deadline_s: float = 300, stdin: str | None = None) -> Result:
    """Unpacked packages are root's; the rest of the build needs no root."""
    sudo = () if os.geteuid() == 0 else ("sudo", "env", *(f"{name}={value}" for name, value in _environment().items()))
    return _do(*sudo, *argv, deadline_s=deadline_s, stdin=stdin)


def _do(*argv: str, deadline_s: float = 300, stdin: str | None = None) -> Result:
    result = run(argv, deadline_s=deadline_s, stdin=stdin, env=_environment())
    if not result.ok:
        cause = f"it took more than {deadline_s:.0f} s" if result.timed_out else result.stderr.strip()[-2000:]
        raise HostError(f"building the lab host: {' '.join(argv)[:200]}: {cause}")
    return result


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
