"""The work in the guest that an image is built in: install, check, tell what is there, forget, switch off.

And in a guest of the new image: look whether it is what it should be.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vmlab.errors import GuestError, UsageError
from vmlab.guest.boot import Vigil
from vmlab.guest.facts import LOOK, Facts, direct_cmdline
from vmlab.guest.forget import FORGOTTEN, forget_and_switch_off
from vmlab.guest.killed import why_killed
from vmlab.guest.trouble import Unreachable
from vmlab.lab.beds.up import Raised
from vmlab.lab.ground.guests import guest_of
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Progress
from vmlab.lustre.trouble import explain
from vmlab.runtime.archive import archive
from vmlab.runtime.log import log
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline, until
from vmlab.shell import script
from vmlab.store.carried import BACKENDS, backends, carried
from vmlab.store.images import TEMPLATE, Files, Manifest
from vmlab.store.managers import Manager, failed_scriptlets, installed, lacking, manager_of, worth_asking
from vmlab.store.packages import Kind, Package, kernel_to_boot, listing_commands, package
from vmlab.store.recipes import first_boot
from vmlab.values import identity
from vmlab.values.complaint import complaint
from vmlab.virt.connection import Host
from vmlab.virt.console import console_text
from vmlab.virt.observe import domain_state
from vmlab.virt.outside import no_way_out

NODE = "build"
_OFF_S = 300.0
_TOLD = 10  # names that an error lists

_PACKAGES = "/var/tmp/vmlab-packages"  # noqa: S108 - in the guest, which is ours alone
_OUT = "/var/tmp/vmlab-boot"  # noqa: S108

_IN_ENGLISH = ("env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")

# As apt, dnf and zypper print it.
_INSTALLING = re.compile(r"(?:Setting up| *Installing *:|\(\d+/\d+\) Installing:) +([^ ]+)")

_TAKE_OUT = script(__file__, "take_out.sh")


# A module that was built for another configuration of the same release shows only when it is loaded.
_LOAD = 'modprobe -a "$@" || { dmesg | tail -n 5; exit 1; }'


@dataclass(frozen=True, slots=True)
class Job:
    """The image `name` of the image `base`, whose manifest is given, and of package `files`.

    `packages` are those files read, if that could be done on the host; `kernel`: they bring the kernel to boot.
    """

    name: str
    base: str
    manifest: Manifest
    kind: Kind
    files: tuple[Path, ...]
    packages: tuple[Package, ...]
    kernel: bool


def read_packages(kind: Kind, files: Sequence[str], ask: Callable[[tuple[str, ...]], Result]) -> tuple[Package, ...]:
    """What the files are; `ask` runs a command where they are. Raises UsageError for a broken one."""
    found = []
    for file in files:
        told = [ask(argv) for argv in listing_commands(kind, file)]
        for result in told:
            if not result.ok:
                raise UsageError(f"{Path(file).name} is no package: {result.last_line}", hint=f"ls -l {file}")
        found.append(package(kind, file, *(result.stdout for result in told)))
    return tuple(found)


class Session:
    """The work in the guest, from its being ready to its being off."""

    def __init__(self, host: Host, raised: Raised, deadline: Deadline, progress: Progress) -> None:
        prepared = raised.prepared
        node = prepared.nodes[NODE]
        bed, pool = prepared.topology.name, prepared.parts[host.name].observed.pool_path
        self.disk = Path(pool) / identity.root_volume(bed, NODE)
        self._key = prepared.keys.public_key
        self._guest = guest_of(only(host), host, node.metadata)
        self._deadline = deadline
        self._progress = progress
        self._brought = False
        self._state: Callable[[], str] = lambda: domain_state(host, node.domain)
        log_of_console = identity.console_volume(bed, NODE)
        self._vigil = Vigil(self._guest, lambda: console_text(host, pool, log_of_console), self._state, "install")

    def work(self, job: Job, out: Path) -> tuple[Manifest, tuple[str, ...]]:
        """Install, check, take kernel and initrd out to `out` if they are new, forget, switch off.

        Returns the new image's manifest, whose files are yet to be named, and the modules that were brought.
        """
        with self._guest:
            self._guest.connect(self._deadline, watch=self._vigil)
            before = self._look()
            manager = manager_of(before.programs, job.kind, job.base)
            packages = job.packages or read_packages(job.kind, self._bring(job.files), self._run)
            release = kernel_to_boot(packages, image=job.base, boots=before.boots, brought=job.kernel)
            self._install(manager, self._bring(job.files))
            if not job.kernel:
                self._check_kernel(job, before)
            modules = tuple(sorted({name for one in packages for name in one.modules}))
            self._check_modules(modules, release)
            manifest = self._manifest(job, before, release)
            names = [one.name for one in packages]
            manifest = manifest.model_copy(update=self._carries(job.manifest, manager, names, release))
            if "ldiskfs" in manifest.backends:
                self._warn_of_ldiskfs(job.name, release)
            if self._needs_no_cloud_init(job.manifest.user):
                carries = {**manifest.carries, **self._units(job.name, release)}
                manifest = manifest.model_copy(update={"carries": carries})
            if job.kernel:
                self._take_out(release, out)
            self._switch_off(job.manifest.user)
        return manifest, modules

    def check(self, manifest: Manifest, modules: Sequence[str]) -> None:
        """A guest of the new image runs its kernel and has these modules; Lustre and its backends can be loaded."""
        with self._guest:
            self._guest.connect(self._deadline, watch=self._vigil)
            runs = self._must(("uname", "-r"), "ask for the kernel").stdout.strip()
            if runs != manifest.kernel:
                told = f"it boots {runs}, and its kernel should be {manifest.kernel}"
                raise GuestError(told, node=NODE, stage="check")
            if modules:
                self._progress.stage(NODE, "find modules")
                self._must((*_IN_ENGLISH, "modprobe", "-a", "-n", *modules), "find the modules")
            if manifest.lustre:
                self._progress.stage(NODE, "load lustre")
                names = {name: module for module, name in BACKENDS.items()}
                loaded = ("lustre", *(names[backend] for backend in manifest.backends))
                self._must((*_IN_ENGLISH, "sh", "-c", _LOAD, "vmlab", *loaded), "load Lustre")

    def _look(self) -> Facts:
        return Facts.read(self._must(LOOK, "look around").stdout)

    def _bring(self, files: Sequence[Path]) -> list[str]:
        """Copy the packages into the guest, once; their paths there."""
        there = [f"{_PACKAGES}/{file.name}" for file in files]
        if self._brought:
            return there
        self._progress.stage(NODE, "copy packages")
        self._must(("mkdir", "-p", "-m", "755", _PACKAGES), "make a folder", as_root=False)
        sources = [str(file.absolute()) for file in files]
        result = self._guest.copy(sources, f"{_PACKAGES}/", to_guest=True, deadline_s=self._deadline.left_s)
        if not result.ok:
            raise self._failure(f"cannot copy the packages into the guest: {_why(result)}", result)
        self._brought = True
        return there

    def _install(self, manager: Manager, files: Sequence[str]) -> None:
        self._progress.stage(NODE, f"{manager.program} install")
        result = self._run((*_IN_ENGLISH, *manager.offline, *files), on_line=self._tell)
        if self._done(manager, result):
            return
        missing = lacking(manager, result.stdout + result.stderr)
        if worth_asking(manager, result.stdout + result.stderr):
            self._progress.stage(NODE, f"{manager.program} install, from its repositories")
            if reason := no_way_out():
                self._progress.warn(f"{reason}: the guest reaches repositories on its own networks only")
            *first, last = manager.online
            for command in first:  # its failure shows in what follows
                self._run((*_IN_ENGLISH, *command))
            result = self._run((*_IN_ENGLISH, *last, *files), on_line=self._tell)
            if self._done(manager, result):
                return
            missing = lacking(manager, result.stdout + result.stderr) or missing
        log.debug("%s\n%s", result.stdout, result.stderr)
        if missing:
            more = f" and {len(missing) - _TOLD} more" if len(missing) > _TOLD else ""
            why = f" ({reason})" if (reason := no_way_out()) else ""
            raise UsageError(
                f"the packages need what neither the image has nor a repository that its guest reaches{why}: "
                f"{', '.join(missing[:_TOLD])}{more}",
                hint="add those packages to --packages",
            )
        raise self._failure(f"{manager.program} did not install the packages: {_cause(result)}", result)

    def _done(self, manager: Manager, result: Result) -> bool:
        """All is installed; a scriptlet that failed and did not stop the package manager is worth a warning."""
        done = result.status in manager.done and not result.timed_out
        for scriptlet in failed_scriptlets(result.stdout + result.stderr) if done else ():
            self._progress.warn(f"{manager.program} went on after a scriptlet that failed: {scriptlet}")
        return done

    def _check_kernel(self, job: Job, before: Facts) -> None:
        """An image that boots from its own disk boots its newest kernel: there must be no new one by accident."""
        new = sorted(self._look().kernels - before.kernels)
        if new and job.manifest.files.kernel is None:
            raise UsageError(
                f"a kernel {', '.join(new)} was installed with the packages, and {job.base} boots {before.boots}",
                hint="--kernel with that kernel's package among the packages",
            )

    def _check_modules(self, names: Sequence[str], release: str) -> None:
        """The kernel will find the modules that were brought, and they say that they are for it."""
        if not names:
            return
        self._progress.stage(NODE, "check modules")
        self._must((*_IN_ENGLISH, "depmod", "-a", release), "index the modules")
        magic = self._must((*_IN_ENGLISH, "modinfo", "-k", release, "-F", "vermagic", *names), "read the modules")
        foreign = sorted({line.split(" ")[0] for line in magic.stdout.splitlines()} - {release})
        if foreign:
            theirs = ", ".join(foreign)
            raise UsageError(f"the packages' modules are for kernel {theirs}, and the image boots {release}")

    def _warn_of_ldiskfs(self, name: str, release: str) -> None:
        """Lustre loads without them, and its targets are neither formatted nor mounted."""
        if "dirdata" in self._look().lacks:
            self._progress.warn(
                f"{name}: its e2fsprogs are without Lustre's patches (no dirdata in mke2fs): they format "
                f"no MDT on ldiskfs; add Lustre's own to --packages"
            )
        if not self._run((*_IN_ENGLISH, "modprobe", "-S", release, "-n", "-q", "quota_v2")).ok:
            self._progress.warn(
                f"{name}: its kernel has no module quota_v2: no target on ldiskfs can be mounted; "
                f"build it from an image with all of the kernel's modules"
            )

    def _manifest(self, job: Job, facts: Facts, release: str) -> Manifest:
        from_loader = job.kernel and job.manifest.files.kernel is None
        return Manifest(
            name=job.name,
            user=job.manifest.user,
            distribution=facts.distribution,
            architecture=facts.machine,
            kernel=release,
            cmdline=direct_cmdline(facts.cmdline) if from_loader else job.manifest.cmdline,
            files=Files(disk=""),
        )

    def _carries(self, base: Manifest, manager: Manager, added: Sequence[str], release: str) -> dict[str, object]:
        """The manifest's fields that tell what is installed."""
        versions = installed(self._must(manager.installed, "list what is installed").stdout)
        version = self._run((*_IN_ENGLISH, "modinfo", "-k", release, "-F", "version", "lustre"))
        paths = self._run((*_IN_ENGLISH, "modinfo", "-k", release, "-n", *BACKENDS)).stdout.split()
        lustre = version.stdout.strip() if version.ok else None
        return {
            "carries": carried(versions, before=base.carries, added=added, lustre=lustre),
            "backends": backends(PurePosixPath(path).name.partition(".")[0] for path in paths),
        }

    def _needs_no_cloud_init(self, user: str) -> bool:
        """Give the image vmlab's own unit, where that can do what cloud-init did at this guest's first boot."""
        argv = (*_IN_ENGLISH, "sh", "-c", first_boot.INSTALL, "vmlab", user)
        unit = archive(first_boot.files()).decode()
        result = self._guest.run(argv, as_root=True, stdin=unit, deadline_s=self._deadline.left_s)
        if not result.ok:
            raise self._failure(f"cannot install {first_boot.UNIT}: {_why(result)}", result)
        return "lean" in result.stdout.split()

    def _units(self, name: str, release: str) -> dict[str, str]:
        """What it carries of vmlab's own: a kernel that is not told when it goes on as a copy makes no clones."""
        if self._run((*_IN_ENGLISH, "modinfo", "-k", release, "-n", "vmgenid")).ok:
            return first_boot.CARRIED
        self._progress.say(
            f"{name}: its kernel {release} has no vmgenid: its guests boot, and are no template's clones"
        )
        return {unit: version for unit, version in first_boot.CARRIED.items() if unit != TEMPLATE}

    def _take_out(self, release: str, out: Path) -> None:
        self._progress.stage(NODE, "take the kernel out")
        self._must(("sh", "-c", _TAKE_OUT, "vmlab", release, _OUT), "take the kernel out")
        sources = [f"{_OUT}/kernel", f"{_OUT}/initrd"]
        result = self._guest.copy(sources, str(out), to_guest=False, deadline_s=self._deadline.left_s)
        if not result.ok:
            raise self._failure(f"cannot copy the kernel out of the guest: {_why(result)}", result)

    def _switch_off(self, user: str) -> None:
        self._progress.stage(NODE, "clean")
        heard: list[str] = []
        argv = forget_and_switch_off(self._key, user)
        try:
            result = self._guest.stream(argv, as_root=True, deadline=self._deadline, on_line=heard.append)
        except Unreachable:
            if FORGOTTEN not in heard:
                raise
        else:
            if FORGOTTEN not in heard:
                raise self._failure(f"the guest could not be cleaned: {_why(result)}", result)
        self._progress.stage(NODE, "off")
        if not until(lambda: self._state() == "shut off", Deadline.after(_OFF_S), every_s=0.5):
            raise self._vigil.failure(f"it did not go off in {_OFF_S:.0f} s; its domain is {self._state()}")

    def _tell(self, line: str) -> None:
        """Name the package that is being installed: a kernel's scriptlets take minutes."""
        if found := _INSTALLING.match(line):
            self._progress.stage(NODE, f"install {found[1]}")

    def _run(
        self, argv: Sequence[str], *, as_root: bool = True, on_line: Callable[[str], None] = lambda _: None
    ) -> Result:
        return self._guest.stream(argv, as_root=as_root, deadline=self._deadline, watch=self._vigil, on_line=on_line)

    def _must(self, argv: Sequence[str], what: str, *, as_root: bool = True) -> Result:
        result = self._run(argv, as_root=as_root)
        if not result.ok:
            raise self._failure(f"cannot {what}: {_why(result)}", result)
        return result

    def _failure(self, message: str, result: Result) -> GuestError:
        if result.timed_out:
            message = f"{message} (no time is left, --timeout gives more)"
        elif killed := why_killed(self._guest, result):
            message = f"{message}: {killed}"
        said = (result.stdout + result.stderr).splitlines()[-20:]
        return GuestError(f"{NODE}: {message}", node=NODE, stage="install", console=said, hint="see vmlab.log")


def _why(result: Result) -> str:
    found = explain(f"{result.stderr}\n{result.stdout}")
    said = (result.stderr or result.stdout).splitlines()
    return found.message if found is not None else complaint(said) or f"status {result.status}"


def _cause(result: Result) -> str:
    """The first line that reports an error: the last ones often only say that there was one."""
    text = result.stdout + result.stderr
    errors = re.findall(r"^(?:E: |dpkg: error.*?: |Error: |error: |.*: No space left)(.*)$", text, re.MULTILINE)
    return next(filter(None, map(str.strip, errors)), result.last_line)
