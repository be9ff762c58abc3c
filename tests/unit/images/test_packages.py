"""Package files: which are meant, what they hold, and whether their modules fit a kernel. Listings are recorded."""

from pathlib import Path

import pytest

from vmlab.errors import UsageError
from vmlab.store.packages import Kind, Package, collect, kernel_to_boot, listing_commands, package

CASES = Path(__file__).parents[2] / "cases/packages"
OLD, NEW = "6.1.0-50-amd64", "6.12.95+deb12-amd64"
RHEL = "5.14.0-427.13.1.el9_4.x86_64"


def recorded(case: str) -> Package:
    """A package from what dpkg-deb or rpm printed; `case` is a file's name without .head and .files."""
    kind: Kind = "deb" if case.endswith(".deb") else "rpm"
    return package(kind, f"/there/{case}", *((CASES / f"{case}.{part}").read_text() for part in ("head", "files")))


def test_lustre_s_modules_as_deb() -> None:
    found = recorded("lustre-modules.deb")
    assert (found.name, found.version) == ("lustre-server-modules-6.12.95+deb12-amd64", "2.17.57-62-gc881f8e-1")
    assert found.modules_for == {NEW}
    assert found.kernels == frozenset()
    assert {"lustre", "ldiskfs", "osd_ldiskfs", "osd_wbcfs", "ko2iblnd", "lnet"} <= set(found.modules)


def test_modules_below_usr_lib_count_too() -> None:
    found = recorded("lustre-tests.deb")
    assert found.modules_for == {NEW}
    assert found.modules == ("ec_test", "kinode", "llog_test", "obd_mod_rpcs_test", "obd_test")


def test_kernel_as_deb_has_modules_of_its_own_only() -> None:
    found = recorded("kernel.deb")
    assert found.kernels == {NEW}
    assert found.modules_for == {NEW}
    assert found.modules == ()


def test_package_without_modules_is_for_every_kernel() -> None:
    found = recorded("lustre-utils.deb")
    assert (found.modules_for, found.modules, found.kernels) == (frozenset(), (), frozenset())


def test_kmod_and_kernel_as_rpm() -> None:
    kmod, kernel = recorded("kmod-lustre.rpm"), recorded("kernel-core.rpm")
    assert (kmod.name, kmod.version) == ("kmod-lustre", "2.15.5-1.el9")
    assert kmod.modules_for == {RHEL}
    assert kmod.modules == ("lustre", "obdclass", "osd_ldiskfs", "ptlrpc")
    assert kernel.kernels == kernel.modules_for == {RHEL}
    assert kernel.modules == ()


@pytest.mark.parametrize("suffix", ["ko", "ko.xz", "ko.zst", "ko.gz"])
def test_compressed_modules_are_modules(suffix: str) -> None:
    found = package("rpm", "a.rpm", "Package: a\nVersion: 1\n", f"/lib/modules/{RHEL}/extra/lustre.{suffix}\n")
    assert (found.modules_for, found.modules) == ({RHEL}, ("lustre",))


def test_a_folder_of_a_release_alone_is_no_module() -> None:
    files = f"/lib/modules/{RHEL}\n/lib/modules/{RHEL}/extra\n/usr/share/doc/lustre.ko.txt\n"
    assert package("rpm", "a.rpm", "Package: a\nVersion: 1\n", files).modules_for == frozenset()


def test_listing_commands_have_the_file_as_one_word() -> None:
    for kind in ("deb", "rpm"):
        assert all(command[-1] == "/a b.pkg" or "/a b.pkg" in command for command in listing_commands(kind, "/a b.pkg"))


MODULES, KERNEL, UTILS = "lustre-modules.deb", "kernel.deb", "lustre-utils.deb"


def decide(*cases: str, boots: str = OLD, brought: bool = False) -> str:
    return kernel_to_boot([recorded(case) for case in cases], image="stock", boots=boots, brought=brought)


def test_modules_for_another_kernel_are_refused_with_both_versions() -> None:
    with pytest.raises(UsageError) as refused:
        decide(UTILS, MODULES)
    assert refused.value.message == (
        f"lustre-modules.deb has modules for kernel {NEW}, and the image stock boots {OLD}"
    )
    assert f"built for {OLD}" in refused.value.hint
    assert "--kernel" in refused.value.hint


def test_kernel_among_the_packages_is_not_enough_without_the_option() -> None:
    with pytest.raises(UsageError) as refused:
        decide(MODULES, KERNEL)
    assert refused.value.hint.startswith("--kernel, if")


def test_modules_for_the_image_s_kernel_are_taken() -> None:
    assert decide(MODULES, UTILS, boots=NEW) == NEW


def test_with_kernel_the_packages_kernel_is_booted() -> None:
    assert decide(MODULES, KERNEL, UTILS, brought=True) == NEW
    assert decide("kmod-lustre.rpm", "kernel-core.rpm", brought=True) == RHEL


def test_kernel_that_nobody_brings() -> None:
    with pytest.raises(UsageError, match="no kernel is among the packages"):
        decide(MODULES, UTILS, brought=True)


def test_brought_kernel_that_the_modules_are_not_for() -> None:
    with pytest.raises(UsageError) as refused:
        decide(MODULES, "kernel-core.rpm", brought=True)
    assert refused.value.message == (
        f"lustre-modules.deb has modules for kernel {NEW}, and kernel-core.rpm brings {RHEL}"
    )


def test_of_two_kernels_the_one_with_lustre_s_modules() -> None:
    assert decide(MODULES, KERNEL, brought=True) == NEW
    other = Package("k.deb", "k", "1", kernels=frozenset({OLD}))
    packages = [recorded(KERNEL), recorded(MODULES), other]
    assert kernel_to_boot(packages, image="i", boots=OLD, brought=True) == NEW
    with pytest.raises(UsageError, match=f"more than one kernel: {OLD}, {NEW}".replace("+", r"\+")):
        kernel_to_boot([recorded(KERNEL), other], image="i", boots=OLD, brought=True)


def test_no_modules_fit_every_kernel() -> None:
    assert decide(UTILS) == OLD


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(name)


def test_folder_gives_its_packages_without_sources_and_debug_symbols(tmp_path: Path) -> None:
    files(tmp_path, "lustre-2.17.rpm", "lustre-2.17.src.rpm", "lustre-debuginfo-2.17.rpm", "lustre-debugsource-2.rpm")
    files(tmp_path, "README", "kernel-debuginfo-common-x86_64-5.14.rpm", "kmod-lustre-2.17.rpm")
    kind, found = collect([tmp_path])
    assert kind == "rpm"
    assert [path.name for path in found] == ["kmod-lustre-2.17.rpm", "lustre-2.17.rpm"]


def test_file_that_is_named_is_taken_and_only_once(tmp_path: Path) -> None:
    files(tmp_path, "a-dbgsym_1.deb", "b_1.deb")
    assert [p.name for p in collect([tmp_path])[1]] == ["b_1.deb"]
    named = collect([tmp_path / "a-dbgsym_1.deb", tmp_path, tmp_path / "b_1.deb"])[1]
    assert [p.name for p in named] == ["a-dbgsym_1.deb", "b_1.deb"]


def test_what_cannot_be_packages(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    files(tmp_path, "a.deb", "b.rpm", "c.txt")
    for paths, told in (
        ([tmp_path / "empty"], "no .deb or .rpm files in"),
        ([tmp_path / "none.deb"], "is not there"),
        ([tmp_path / "c.txt"], "is no .deb or .rpm file"),
        ([tmp_path], "of two kinds"),
    ):
        with pytest.raises(UsageError, match=told):
            collect(paths)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files(tmp_path / name, "a.deb")
    with pytest.raises(UsageError, match=r"two different packages are called a\.deb"):
        collect([tmp_path / "one", tmp_path / "two"])
