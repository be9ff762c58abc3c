"""What `host check` and a failed connection say of daemons, SELinux, AppArmor and firewalld."""

from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.runtime import distribution
from vmlab.values.distribution import Distribution
from vmlab.virt import connection
from vmlab.virt.check_machine import firewalld
from vmlab.virt.confinement import apparmor, selinux
from vmlab.virt.connection import Host
from vmlab.virt.daemons import DRIVERS, Daemons, how_to_start
from vmlab.virt.outside import lacking
from vmlab.virt.pool import BEDS, IMAGES

RHEL_9 = Daemons(frozenset({*DRIVERS, "virtlogd"}), frozenset({"virtqemud"}))
BOTH = Daemons(frozenset({*DRIVERS, "libvirtd", "virtlogd"}), frozenset({"virtqemud"}))
BOTH_OLD = Daemons(frozenset({*DRIVERS, "libvirtd", "virtlogd"}), frozenset({"libvirtd"}))
DEBIAN = Daemons(frozenset({"libvirtd", "virtlogd"}), frozenset({"libvirtd"}))
CONTAINER = Daemons(frozenset({"libvirtd", "virtlogd"}), systemd=False)
MODULAR_CONTAINER = Daemons(frozenset({*DRIVERS, "virtlogd"}), systemd=False)
NONE = Daemons(frozenset())

ALL = "systemctl enable --now virtqemud.socket virtnetworkd.socket virtstoraged.socket virtnodedevd.socket"


def lost(daemon: str, why: str = "No such file or directory") -> str:
    """libvirt's words, as libvirt 9.0 and 11.3 say them."""
    return f"Failed to connect socket to '/var/run/libvirt/{daemon}-sock': {why}"


@pytest.mark.parametrize(
    ("text", "there", "hint"),
    [
        (lost("virtqemud"), RHEL_9, f"start it: {ALL}"),
        (lost("libvirt"), RHEL_9, f"start it: {ALL}"),
        (lost("libvirt", "Connection refused"), BOTH, f"start it: {ALL}"),
        (lost("libvirt"), BOTH_OLD, "start it: systemctl enable --now libvirtd.socket"),
        (lost("libvirt"), DEBIAN, "start it: systemctl enable --now libvirtd.socket"),
        (lost("virtqemud"), DEBIAN, "start it: systemctl enable --now libvirtd.socket"),
        (lost("virtnetworkd"), RHEL_9, "start it: systemctl enable --now virtnetworkd.socket"),
        (lost("virtstoraged", "Connection refused"), BOTH, "start it: systemctl enable --now virtstoraged.socket"),
        (lost("virtlogd"), RHEL_9, "start it: systemctl enable --now virtlogd.socket"),
        (lost("libvirt"), CONTAINER, "start it: virtlogd -d; libvirtd -d"),
        (lost("virtlogd"), CONTAINER, "start it: virtlogd -d"),
        (
            lost("libvirt"),
            MODULAR_CONTAINER,
            "start it: virtlogd -d; virtnodedevd -d; virtstoraged -d; virtnetworkd -d; virtqemud -d",
        ),
        (lost("libvirt"), NONE, "dnf install libvirt, and then vmlab host check"),
        (lost("virtnetworkd"), NONE, "dnf install libvirt, and then vmlab host check"),
        (lost("libvirt", "Permission denied"), RHEL_9, ""),
        ("Domain not found: no domain with matching name 'x'", RHEL_9, ""),
        ("cannot open /var/lib/libvirt/images/x: No such file or directory", RHEL_9, ""),
    ],
)
def test_the_daemon_that_is_off_is_named(text: str, there: Daemons, hint: str) -> None:
    assert how_to_start(text, there, "dnf install libvirt") == hint


@pytest.mark.parametrize("daemon", ["virtqemud", "libvirt"])
def test_a_connection_says_it(tmp_path: Path, daemon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "look", lambda: RHEL_9)
    with pytest.raises(HostError, match="no libvirt at") as caught:
        Host(f"qemu+unix:///system?socket={tmp_path}/{daemon}-sock")
    assert caught.value.hint == f"start it: {ALL}"


@pytest.fixture
def rhel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "here", lambda: Distribution("rhel", "rhel"))


@pytest.mark.usefixtures("rhel")
def test_labels_by_which_consoles_cannot_be_written() -> None:
    folders = [("/data/beds", "default_t", BEDS), ("/data/images", "virt_image_t", IMAGES)]
    found = selinux(folders, enforcing=True)
    assert (found.verdict, found.found) == (
        "warning",
        "SELinux: /data/beds is default_t, where libvirt's daemons may not make volumes or consoles' logs",
    )
    assert found.hint == (
        "semanage fcontext -a -t virt_var_lib_t '/data/beds(/.*)?'; restorecon -R /data/beds "
        "(semanage: dnf install policycoreutils-python-utils)"
    )


def test_a_label_for_disks_is_none_for_consoles() -> None:
    assert selinux([("/data/beds", "virt_image_t", BEDS)], enforcing=True).verdict == "warning"
    assert selinux([("/data/images", "virt_image_t", IMAGES)], enforcing=True).verdict == "ok"


def test_where_libvirt_puts_its_own_files_all_is_well() -> None:
    folders = [("/var/lib/libvirt/vmlab/beds", "virt_var_lib_t", BEDS), ("/closed/images", None, IMAGES)]
    assert selinux(folders, enforcing=True).found == "SELinux"
    assert selinux(folders, enforcing=False).found == "SELinux, permissive"


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("/var/lib/libvirt/vmlab/beds", "ok"),
        ("/srv/vmlab/beds", "ok"),
        ("/home/ann/vmlab/beds", "ok"),
        ("/home/ann/.local/share/vmlab/beds", "no"),
        ("/root/.vmlab/beds", "no"),
        ("/home/ann/bin/beds", "no"),
        ("/home/ann/binary/beds", "ok"),
        ("/srv/.vmlab/beds", "ok"),
    ],
)
def test_folders_that_apparmor_denies_to_libvirts_helper(path: str, verdict: str) -> None:
    assert apparmor([path]).verdict == verdict


@pytest.mark.parametrize(
    ("routes", "resolv_conf", "why"),
    [
        ('[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"}]', "nameserver 192.0.2.53\n", ""),
        ("[]", "nameserver 192.0.2.53\n", "the host has no default route"),
        ("", "", "the host has no default route"),
        ('[{"dst":"default"}]', "# nameserver 192.0.2.53\n", "the host has no name server (/etc/resolv.conf)"),
        (None, "search lab\nnameserver 127.0.0.53\n", ""),
    ],
)
def test_a_host_without_a_way_out_is_known(routes: str | None, resolv_conf: str, why: str) -> None:
    assert lacking(routes, resolv_conf) == why


@pytest.mark.usefixtures("rhel")
def test_firewalld_needs_libvirts_zone() -> None:
    assert firewalld(None, known=False).found == "does not run"
    assert firewalld("block dmz libvirt libvirt-routed public\n", known=True).verdict == "ok"
    loaded_before = firewalld("block dmz libvirt-routed public\n", known=True)
    assert (loaded_before.verdict, loaded_before.hint) == ("no", "firewall-cmd --reload")
    absent = firewalld("public", known=False)
    assert absent.hint == "dnf install libvirt-daemon-driver-network; firewall-cmd --reload"
