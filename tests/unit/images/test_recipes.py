"""What images are made of by recipes: the bootstrap, the initramfs, the suites that are refused."""

from pathlib import Path

import pytest

from vmlab.errors import HostError, UsageError
from vmlab.store.build import RECIPES, _composed, build_recipe
from vmlab.store.images import find
from vmlab.store.recipes.debian import apt_mirror, bootstrap, lines
from vmlab.store.recipes.kernel import initramfs

APT_CONFIG = """\
APT "";
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.lab:3128";
Acquire::Retries "3";
APT::Architecture "amd64";
Dir::Etc::trusted "trusted.gpg";
"""


def test_bootstrap_takes_over_what_this_machine_says_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "packages").write_text("# remark\nkmod *\ngrub-pc-bin -\n\nudev\n")
    (tmp_path / "excludes").write_text("# remark\n/usr/share/man/*\n")
    assert bootstrap(tmp_path, Path("/tree"), "trixie", "http://mirror.lab/debian", APT_CONFIG) == (
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        "--include=kmod,grub-pc-bin,udev",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::http::Proxy "http://proxy.lab:3128"',
        '--aptopt=Acquire::Retries "3"',
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "trixie",
        "/tree",
        "http://mirror.lab/debian",
    )


@pytest.mark.parametrize(
    ("file", "content", "mirror"),
    [
        ("sources.list", "deb [arch=amd64] http://mirror.lab/debian/ trixie main\n", "http://mirror.lab/debian"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://a.lab/debian\n", "http://a.lab/debian"),
        ("sources.list.d/other.list", "deb http://a.lab/docker stable main\n", "http://deb.debian.org/debian"),
    ],
)
def test_mirror_is_apt_s_own(tmp_path: Path, file: str, content: str, mirror: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    assert apt_mirror(tmp_path) == mirror


def test_initramfs_lists_its_modules_in_the_order_of_loading() -> None:
    archive = initramfs(b"INIT", {"virtio_blk.ko": b"ONE", "ext4.ko": b"TWO"})
    assert b"/virtio_blk.ko\n/ext4.ko\n" in archive
    assert archive.index(b"ONE") < archive.index(b"TWO") < archive.index(b"INIT")


@pytest.mark.parametrize("suite", ["bookworm", "oldstable", "bullseye"])
def test_suites_without_what_the_recipe_configures_are_refused_at_once(tmp_path: Path, suite: str) -> None:
    with pytest.raises(UsageError, match=f"Debian trixie or later, not of {suite}"):
        build_recipe("demo", tmp_path / "out", mirror=None, suite=suite, progress=print)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_several_folders_adds_to_the_lists_and_files_of_those_before(tmp_path: Path) -> None:
    recipe = _composed(RECIPES["tools"], tmp_path / "recipe")
    packages, modules = ([line.split()[0] for line in lines(recipe / name)] for name in ("packages", "modules"))
    assert {"openssh-server", "nfs-kernel-server", "makedumpfile"} <= set(packages)
    assert {"virtio_blk", "dm-flakey", "dm-thin-pool", "nfsd"} <= set(modules)
    assert (recipe / "files/etc/fstab").is_file()
    setup = (recipe / "setup").read_text()
    assert setup.index("vmlab-console.service") < setup.index("nfs-server")
    assert list(lines(recipe / "excludes"))


def test_an_image_that_is_missing_is_told_how_to_get(tmp_path: Path) -> None:
    for name in RECIPES:
        with pytest.raises(HostError) as caught:
            find(tmp_path, name)
        assert caught.value.hint == f"vmlab image build {name}"
