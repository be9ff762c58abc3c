"""Builds images from Debian packages, by recipes: a folder each. Needs neither loop devices nor a running guest."""

import json
import lzma
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from vmlab.errors import HostError, UsageError
from vmlab.runtime.distribution import install_hint
from vmlab.runtime.lock import held
from vmlab.runtime.process import Result
from vmlab.runtime.process import run as run_process
from vmlab.store.recipes import disk, first_boot
from vmlab.store.recipes.debian import APT_CONFIG, CONTAINED, apt_mirror, bootstrap, environment, lines, missing
from vmlab.store.recipes.kernel import Modules, initramfs, payload

Run = Callable[..., Result]

RECIPES = {"demo": ("demo",), "tools": ("demo", "tools")}
"""The folders of each: a later one adds to the lists and files of those before it, and its setup runs after theirs."""

_NEEDED = ("mmdebstrap", "mke2fs", "qemu-img", "zstd", "chroot", "unshare", "setpriv")
# Fixed, so that the kernel's command line can name it; clones are told apart by their machine-id and host keys.
_ROOT = "5f2b7a52-6d0e-4c0a-9c1e-766d6c616231"
_SIZE = 3 << 30
# What the guests do not need to be told twice: they are measured for work, not for resisting an attacker inside.
# Userspace without ASLR and kernel without mitigations and zeroed pages is what makes them fast under TCG. An NMI is a
# panic: what is the matter with a guest that hangs is then in its memory.
_CMDLINE = (
    f"root=UUID={_ROOT} rw console=ttyS0 loglevel=5 mitigations=off norandmaps init_on_alloc=0 lsm=capability "
    "preempt=none cryptomgr.notests net.ifnames=0 unknown_nmi_panic LD_LIBRARY_PATH=/usr/lib/vmlab/no-bpf"
)
# LD_LIBRARY_PATH is process 1's alone, whose services have an environment of their own. It finds an empty file there in
# place of libbpf, and leaves out the probing of cgroup programs: a sixth of what a guest computes until ssh answers.
_TOO_OLD = frozenset({"buster", "bullseye", "bookworm", "oldoldstable", "oldstable"})
_SYS_ADMIN = 21  # the bit of CAP_SYS_ADMIN, capabilities(7)


def build_recipe(
    name: str,
    destination: Path,
    *,
    mirror: str | None,
    suite: str,
    progress: Callable[[str], None],
    run: Run = run_process,
) -> Path:
    """Build one of RECIPES into the folder `destination`, which is replaced as a whole; returns its manifest's path.

    `mirror` None means the one that apt uses here. All work happens in a hidden folder beside `destination`; what a
    killed build left there is removed first. Raises HostError: not root, a tool or a package is missing, no mirror;
    UsageError for a suite that the recipe is not made for.
    """
    if suite in _TOO_OLD:
        raise UsageError(
            f"the {name} image is made of Debian trixie or later, not of {suite}: cloud-init is one service since then",
            hint="vmlab image import, with a cloud image of that release",
        )
    _check_host()
    destination.parent.mkdir(parents=True, exist_ok=True)
    work = destination.with_name(f".{destination.name}.building")
    with held("build.recipe", what="the build of an image"):
        shutil.rmtree(work, ignore_errors=True)
        try:
            _Build(name, work, suite, mirror or apt_mirror(), progress=progress, run=run).build()
            shutil.rmtree(destination, ignore_errors=True)
            (work / "out").rename(destination)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return destination / f"{name}.json"


def _composed(parts: Sequence[str], into: Path) -> Path:
    """One recipe of several, in the folder `into`."""
    into.mkdir()
    for folder in (Path(str(resources.files("vmlab.store.recipes") / part)) for part in parts):
        for name in ("packages", "modules", "excludes", "setup"):
            if (folder / name).exists():
                with (into / name).open("a") as file:
                    file.write((folder / name).read_text())
        if (folder / "files").exists():
            shutil.copytree(folder / "files", into / "files", dirs_exist_ok=True)
    return into


def _check_host() -> None:
    if absent := missing(_NEEDED):
        raise HostError(f"building an image needs {', '.join(absent)}", hint=install_hint(*absent))
    if os.geteuid() != 0:
        raise HostError("building an image needs root", hint=f"sudo {' '.join(sys.argv)}")


class _Build:
    def __init__(
        self, name: str, work: Path, suite: str, mirror: str, *, progress: Callable[[str], None], run: Run
    ) -> None:
        self.tree = work / "tree"
        self.out = work / "out"
        self.work = work
        self.suite = suite
        self.mirror = mirror
        self.progress = progress
        self.run = run
        self.name = name
        self.recipe = work / "recipe"

    def build(self) -> None:
        self.out.mkdir(parents=True)
        _composed(RECIPES[self.name], self.recipe)
        # The folder becomes the root of a file system whose first user may be anyone.
        self.work.chmod(0o700)
        self.progress(f"unpacking Debian {self.suite} from {self.mirror}")
        self._bootstrap()
        self.progress("configuring")
        self._add_files()
        self._chroot("sh", "-eu", "-s", stdin=(self.recipe / "setup").read_text())
        release = next((self.tree / "usr/lib/modules").iterdir()).name
        self._keep_modules(release)
        head = self._boot(release)
        versions = self._versions()
        self._purge(release)
        self.progress("writing the disk")
        self._write_disk(head)
        self._write_manifest(release, versions)

    def _bootstrap(self) -> None:
        dump = self.run(APT_CONFIG, deadline_s=30).stdout
        program, *options = bootstrap(self.recipe, self.tree, self.suite, self.mirror, dump)
        if _may_mount():
            argv = (*CONTAINED, program, *options)
        else:
            argv = (program, "--skip=check/canmount,chroot/mount", *options)
        self._do(*argv, deadline_s=1800)

    def _add_files(self) -> None:
        source = self.recipe / "files"
        for file in sorted(source.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                target = self.tree / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.write_bytes(file.read_bytes())
                target.chmod(0o644)
        for one in first_boot.files():
            target = self.tree / one.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(one.text)

    def _keep_modules(self, release: str) -> None:
        folder = self.tree / "usr/lib/modules" / release
        modules = Modules((folder / "modules.dep").read_text(), (folder / "modules.builtin").read_text())
        wanted = [line.split() for line in self._lines("modules")]
        try:
            keep = set(modules.closure(name for name, *_ in wanted))
        except KeyError as error:
            told = f"building the image: the kernel {release} has no module {error.args[0]}"
            raise HostError(told, hint="--suite trixie") from error
        for file in folder.rglob("*.ko*"):
            if str(file.relative_to(folder)) in keep and file.suffix == ".xz":
                # Unpacked, for the guests' sake: the disk is compressed as a whole.
                file.with_suffix("").write_bytes(lzma.decompress(file.read_bytes()))
                file.unlink()
            elif str(file.relative_to(folder)) not in keep:
                file.unlink()
        early = [Path(path.removesuffix(".xz")) for path in modules.closure(n for n, *mark in wanted if mark)]
        init = (self.tree / "usr/libexec/tiny-initramfs/init-static").read_bytes()
        initrd = initramfs(init, {path.name: (folder / path).read_bytes() for path in early})
        (self.out / f"{self.name}.initrd").write_bytes(initrd)
        (self.tree / "boot/initrd").write_bytes(initrd)
        self._chroot("depmod", release)

    def _boot(self, release: str) -> bytes:
        """Prepare both ways to start: vmlinux beside the disk, GRUB before it. Returns the disk's first sectors."""
        compressed = payload((self.tree / f"boot/vmlinuz-{release}").read_bytes())
        (self.work / "vmlinux.zst").write_bytes(compressed)
        # QEMU starts an ELF kernel by its PVH entry: the guest has nothing to unpack.
        self._do("zstd", "-dqf", str(self.work / "vmlinux.zst"), "-o", str(self.out / f"{self.name}.vmlinuz"))
        menu = f"set root=(hd0,msdos1)\nlinux /boot/vmlinuz-{release} {_CMDLINE}\ninitrd /boot/initrd\nboot\n"
        (self.tree / "boot/grub.cfg").write_text(menu)
        self._chroot(
            *("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-c", "/boot/grub.cfg"),
            *("-o", "/boot/core.img", "biosdisk", "part_msdos", "ext2", "linux"),
        )
        boot = (self.tree / "usr/lib/grub/i386-pc/boot.img").read_bytes()
        return disk.head(boot, (self.tree / "boot/core.img").read_bytes())

    def _versions(self) -> dict[str, str]:
        listed = self._chroot("dpkg-query", "-Wf", "${Package}\t${Version}\n").stdout
        versions = dict(line.split("\t") for line in listed.splitlines())
        return {name: versions[name] for name, *mark in map(str.split, self._lines("packages")) if "*" in mark}

    def _purge(self, release: str) -> None:
        self._chroot("dpkg", "--purge", "grub-pc-bin", "grub-common")
        spoil = ("tmp/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "var/cache/debconf/*-old")
        boot = ("boot/System.map*", "boot/config-*", "boot/core.img", f"boot/initrd.img-{release}")
        for pattern in (*spoil, *boot, "etc/ssh/ssh_host_*"):
            for path in self.tree.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        # Empty means: each clone makes its own. ("uninitialized" would run all presets at the first boot.)
        (self.tree / "etc/machine-id").write_text("")
        (self.tree / "etc/hostname").write_text("localhost\n")
        (self.tree / "etc/resolv.conf").unlink(missing_ok=True)
        (self.tree / "etc/resolv.conf").write_text("")

    def _write_disk(self, head: bytes) -> None:
        raw = self.work / "disk.raw"
        with raw.open("wb") as file:
            file.write(head)
            file.truncate(_SIZE)
        extended = f"offset={disk.START},root_owner=0:0,hash_seed={_ROOT},nodiscard"
        self._do(
            *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "vmlab-root", "-U", _ROOT, "-m", "0", "-J", "size=16"),
            *("-E", f"{extended},lazy_itable_init=0,lazy_journal_init=0", "-d", str(self.tree)),
            *(str(raw), f"{(_SIZE - disk.START) >> 10}k"),
        )
        self._do(
            *("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-W", "-m", "4", "-o", "compression_type=zstd"),
            *(str(raw), str(self.out / f"{self.name}.qcow2")),
        )

    def _write_manifest(self, release: str, versions: dict[str, str]) -> None:
        pretty = re.search(r'^PRETTY_NAME="(.*)"$', (self.tree / "etc/os-release").read_text(), re.MULTILINE)
        manifest = {
            "schema": 1,
            "name": self.name,
            "user": "root",
            "distribution": pretty[1] if pretty else f"Debian {self.suite}",
            "architecture": "x86_64",
            "kernel": release,
            "cmdline": _CMDLINE,
            "carries": versions | first_boot.CARRIED,
            "files": {
                "disk": f"{self.name}.qcow2",
                "kernel": f"{self.name}.vmlinuz",
                "initrd": f"{self.name}.initrd",
            },
        }
        (self.out / f"{self.name}.json").write_text(json.dumps(manifest, indent=2) + "\n")

    def _lines(self, name: str) -> list[str]:
        return lines(self.recipe / name)

    def _chroot(self, *argv: str, stdin: str | None = None) -> Result:
        return self._do("chroot", str(self.tree), *argv, stdin=stdin)

    def _do(self, *argv: str, deadline_s: float = 300, stdin: str | None = None) -> Result:
        result = self.run(argv, deadline_s=deadline_s, stdin=stdin, env=environment())
        if not result.ok:
            raise HostError(f"building the image: {_tool(argv)} failed: {_cause(result)}", hint="see vmlab.log")
        return result


def _tool(argv: Sequence[str]) -> str:
    return "mmdebstrap" if "mmdebstrap" in argv else argv[2] if argv[0] == "chroot" else argv[0]


def _cause(result: Result) -> str:
    """The first line that reports an error; mmdebstrap's and apt's last lines only say that there was one."""
    if result.timed_out:
        return "it took too long"
    errors = re.findall(r"^(?:E|Err:?\S*|W: Failed.*?|.*error):? (.*)$", result.stderr, re.MULTILINE)
    return errors[0].strip() if errors else result.last_line


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> _SYS_ADMIN & 1)
