"""The package managers: which one, how it is called, what it misses. Their words are recorded."""

from pathlib import Path

import pytest

from vmlab.errors import UsageError
from vmlab.store.managers import MANAGERS, failed_scriptlets, installed, lacking, manager_of, worth_asking

CASES = Path(__file__).parents[2] / "cases/packages"
BY_NAME = {manager.program: manager for manager in MANAGERS}


@pytest.mark.parametrize(
    ("programs", "kind", "chosen"),
    [
        (["apt-get"], "deb", "apt-get"),
        (["dnf", "yum"], "rpm", "dnf"),
        (["yum"], "rpm", "yum"),
        (["zypper"], "rpm", "zypper"),
        (["apt-get", "dnf"], "rpm", "dnf"),
    ],
)
def test_manager_is_the_distribution_s_own(programs: list[str], kind: str, chosen: str) -> None:
    assert manager_of(programs, kind, "image").program == chosen  # type: ignore[arg-type]


def test_packages_of_the_other_kind_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the packages are \.rpm files, and the image demo has apt-get"):
        manager_of(["apt-get"], "rpm", "demo")


def test_image_without_a_package_manager() -> None:
    with pytest.raises(UsageError, match="no package manager that vmlab knows"):
        manager_of([], "deb", "bare")


def test_nothing_asks_and_the_network_comes_second() -> None:
    for manager in MANAGERS:
        for command in (manager.offline, *manager.online):
            assert {"-y", "--non-interactive"} & set(command)
        assert "install" in manager.online[-1]
    assert "--disablerepo=*" in BY_NAME["dnf"].offline
    assert "--disablerepo=*" not in BY_NAME["dnf"].online[-1]
    assert "--no-remote" in BY_NAME["zypper"].offline
    assert "update" in BY_NAME["apt-get"].online[0]


@pytest.mark.parametrize(
    ("program", "case", "missing"),
    [
        (
            "apt-get",
            "apt-missing",
            (
                "libopenmpi3 (needed by ior)",
                "openmpi-bin (needed by ior)",
                "sg3-utils (needed by lustre-iokit)",
                "libnl-genl-3-200 (needed by lustre-server-utils)",
            ),
        ),
        ("dnf", "dnf-missing", ("lustre-osd = 2.15.5 (needed by kmod-lustre-2.15.5-1.el9.x86_64)",)),
        (
            "dnf",
            "dnf-missing-two",
            (
                "lustre-osd = 2.15.5 (needed by vmlab-needy-1-1.noarch)",
                "vmlab-nowhere >= 2 (needed by vmlab-needy-1-1.noarch)",
            ),
        ),
        ("zypper", "zypper-missing", ("lustre-osd = 2.15.5 (needed by kmod-lustre-2.15.5-1.el9.x86_64)",)),
        ("zypper", "zypper-missing-quoted", ("lustre-osd = 2.15.5 (needed by vmlab-needy-1-1.noarch)",)),
    ],
)
def test_what_is_missing_is_named(program: str, case: str, missing: tuple[str, ...]) -> None:
    said = (CASES / f"{case}.txt").read_text()
    assert lacking(BY_NAME[program], said) == missing
    assert worth_asking(BY_NAME[program], said)


def test_a_failing_scriptlet_is_nothing_that_repositories_help_with() -> None:
    said = "dpkg: error processing package lustre (--configure):\n installed post-installation script failed\n"
    for manager in MANAGERS:
        assert not worth_asking(manager, said)
    assert worth_asking(BY_NAME["apt-get"], "E: Failed to fetch http://deb.debian.org/x.deb  404  Not Found\n")


@pytest.mark.parametrize("program", ["dnf", "zypper"])
def test_scriptlet_that_only_warns_is_told_and_one_that_stops_is_no_warning(program: str) -> None:
    warned, stopped = ((CASES / f"{program}-{case}.txt").read_text() for case in ("scriptlet", "broken"))
    assert failed_scriptlets(warned) == ("%post(vmlab-post-1-1.noarch): exit status 7",)
    assert failed_scriptlets(stopped) == ()
    assert not worth_asking(BY_NAME[program], stopped)


def test_zypper_says_by_its_status_what_else_is_to_be_done() -> None:
    """102, reboot needed, is what it says of each kernel; 4 and 8 are what it said of the recorded failures."""
    assert {0, 102, 107} <= BY_NAME["zypper"].done
    assert not {1, 4, 8, 104, 105} & BY_NAME["zypper"].done
    assert BY_NAME["dnf"].done == {0}


def test_only_installed_packages_have_versions() -> None:
    told = "ior\t4.0\tinstall ok installed\nold\t1\tdeinstall ok config-files\nbroken\t2\tinstall ok half-installed\n"
    assert installed(told) == {"ior": "4.0"}
