"""The steps' shell scripts, run by the real shell; the tools that need Lustre are stand-ins that print what they print.

No step is applied here that would touch this machine: what is left of PATH are the stand-ins and coreutils.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vmlab.lustre.lnetconf import Interface, Lnet, Via, import_text, modprobe_text
from vmlab.lustre.target import Target
from vmlab.lustre.version import Version
from vmlab.roles import ClientMount, Member, _client, _lnet, _modules, _target, roles
from vmlab.steps import Command, Step
from vmlab.topology.bed import Role
from vmlab.values.nid import Nid

CASES = Path(__file__).parents[2] / "cases" / "lustre"
REAL = ("sh", "awk", "cat", "cmp", "dirname", "echo", "grep", "head", "mkdir", "mv", "printf", "readlink", "sed")
REAL = (*REAL, "sleep", "sort", "tail", "timeout", "tr")
SCRIPTS = {
    f"{module.__name__}.{name}": text
    for module in (_client, _lnet, _modules, _target)
    for name, text in vars(module).items()
    if name.startswith("_") and not name.startswith("__") and isinstance(text, str) and not text.startswith("/")
}


class Guest:
    """A folder that stands in for a guest's PATH. Stand-ins answer by a script, and each call is written down."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "calls"
        for tool in REAL:
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)  # a link to the real tool: what is written must never go through it
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{script}\n')
        path.chmod(0o755)

    def run(self, command: Command) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "LC_ALL": "C"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_is_one_for_any_posix_shell(name: str) -> None:
    for shell in ("dash", "bash"):
        if shutil.which(shell):
            done = subprocess.run([shell, "-n", "-c", SCRIPTS[name]], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


A, B, GATEWAY = Nid.parse("10.77.1.11@o2ib"), Nid.parse("10.77.2.11@tcp"), Nid.parse("10.77.1.13@o2ib")
LNET = Lnet((Interface("ib0", "52:54:00:00:00:01", A),), (Via("tcp", GATEWAY, 1), Via("o2ib1", GATEWAY, 2)))


def step(name: str, config: Lnet = LNET) -> Step:
    return next(step for step in _lnet.steps(config) if step.name == name)


def test_networks_are_compared_whole(guest: Guest) -> None:
    networks = step("LNet networks", Lnet((*LNET.interfaces, Interface("eth", "52:54:00:00:00:02", B))))
    guest.tool("lctl", f"echo {B}; echo {A}")
    assert guest.run(networks.check).returncode == 0
    guest.tool("lctl", f"echo {A}")
    assert guest.run(networks.check).returncode == 1
    guest.tool("lctl", f"echo {A}; echo {B}; echo 192.168.1.1@tcp1")
    assert guest.run(networks.check).returncode == 1
    guest.tool("lctl", "echo 'IOC_LIBCFS_GET_NI error 100: Network is down' >&2; exit 100")
    assert guest.run(networks.check).returncode == 1


def test_networks_are_imported(guest: Guest) -> None:
    guest.tool("modprobe", "")
    guest.tool("lnetctl", "")
    assert guest.run(step("LNet networks").apply[0]).returncode == 0
    assert guest.calls() == ["modprobe lnet", "lnetctl lnet configure", "lnetctl import /etc/lnet.conf"]


def test_a_router_takes_the_modules_options_and_forwards_at_once(guest: Guest) -> None:
    guest.tool("modprobe", "")
    guest.tool("lnetctl", "")
    router = Lnet(LNET.interfaces, forwarding=True)
    assert guest.run(step("LNet networks", router).apply[0]).returncode == 0
    assert guest.calls() == ["modprobe lnet", "lnetctl lnet configure --all"]


def test_a_router_that_is_told_later_is_waited_for(guest: Guest) -> None:
    forwarding = step("LNet forwarding", Lnet(LNET.interfaces, forwarding=True))
    guest.tool("lnetctl", "echo 'routing:'; echo '    - enable: 2'")
    assert guest.run(forwarding.check).returncode == 1
    guest.tool("lnetctl", f'[ $(grep -c show {guest.log}) -lt 3 ] || echo "    - enable: 1"')
    assert guest.run(forwarding.apply[0]).returncode == 0
    assert guest.calls()[1:] == ["lnetctl set routing 1", "lnetctl routing show", "lnetctl routing show"]


def test_lnet_that_is_loaded_is_loaded_anew_unless_it_is_in_use(guest: Guest) -> None:
    command = step("LNet networks").apply[0]
    loaded = (*command[:2], command[2].replace("/sys/module/lnet", "/"), *command[3:])
    for tool in ("modprobe", "lnetctl", "lustre_rmmod"):
        guest.tool(tool, "")
    assert guest.run(loaded).returncode == 0
    assert guest.calls()[:3] == ["lnetctl lnet unconfigure", "lustre_rmmod ", "modprobe lnet"]
    guest.tool("lctl", "echo 192.168.1.1@tcp")
    guest.tool("lustre_rmmod", "exit 1")
    refused = guest.run(loaded)
    assert refused.returncode == 1
    assert "LNet is in use with other networks (192.168.1.1@tcp ): unmount Lustre first" in refused.stderr


def test_without_lnetctl_the_module_has_its_options(guest: Guest) -> None:
    guest.tool("lctl", '[ "$1" = network ]')
    guest.tool("modprobe", "")
    assert guest.run(step("LNet networks").apply[0]).returncode == 0
    assert guest.calls()[-1] == "lctl network up"


SHOWN = """cat <<'END'
route:
    - net: o2ib1
      gateway: {gateway}
      hop: {hop}
      priority: 0
      state: up
-     net: tcp
      gateway: {gateway}
      hop: 1
END"""


def test_routes_are_compared_with_their_hops(guest: Guest) -> None:
    guest.tool("lnetctl", SHOWN.format(gateway=GATEWAY, hop=2))
    assert guest.run(step("LNet routes").check).returncode == 0
    guest.tool("lnetctl", SHOWN.format(gateway=GATEWAY, hop=-1))
    assert guest.run(step("LNet routes").check).returncode == 1
    guest.tool("lnetctl", "exit 234")
    assert guest.run(step("LNet routes").check).returncode == 1


def test_only_routes_that_differ_are_touched(guest: Guest) -> None:
    guest.tool("lnetctl", f'[ "$2" = show ] || exit 0\n{SHOWN.format(gateway=GATEWAY, hop=-1)}')
    assert guest.run(step("LNet routes").apply[0]).returncode == 0
    assert guest.calls()[1:] == [
        f"lnetctl route del --net o2ib1 --gateway {GATEWAY}",
        f"lnetctl route add --net o2ib1 --gateway {GATEWAY} -c 2",
    ]


def test_a_route_that_is_refused_is_a_failure(guest: Guest) -> None:
    guest.tool("lnetctl", '[ "$2" = show ]')
    assert guest.run(step("LNet routes").apply[0]).returncode != 0


def test_a_gateway_that_was_down_is_discovered_between_two_pings(guest: Guest) -> None:
    up = "printf 'ping:\\n- primary nid: 10.77.0.11@tcp\\n'"
    guest.tool("lnetctl", f"[ $1 = ping ] && [ $(grep -c discover {guest.log}) -gt 0 ] && {up}; exit 0")
    ping = _lnet.ping(LNET, "oss1", [B])
    assert guest.run(ping.check).returncode == 1
    assert guest.run(ping.apply[0]).returncode == 0
    assert guest.calls()[1:] == [f"lnetctl ping {B}", f"lnetctl discover {GATEWAY}", f"lnetctl ping {B}"]


def test_files(guest: Guest, tmp_path: Path) -> None:
    path = str(tmp_path / "lnet.conf")
    text = import_text(LNET) + modprobe_text(LNET)
    written = _lnet._file(path, text)
    assert guest.run(written.check).returncode != 0
    assert guest.run(written.apply[0]).returncode == 0
    assert guest.run(written.check).returncode == 0
    assert Path(path).read_text() == text


def test_pings(guest: Guest) -> None:
    answer = "printf 'ping:\\n- primary nid: 10.77.0.11@tcp\\n  Multi-Rail: false\\n'"
    guest.tool("lnetctl", answer)
    assert guest.run(_lnet.ping(Lnet(), "oss1", [A, B]).check).returncode == 0
    error = "manage:\n- ping:\n  errno: -113\n  descr: ! 'failed to ping 10.77.2.11@tcp: No route to host'"
    guest.tool("lnetctl", f"[ $2 != {B} ] && {{ {answer}; exit 0; }}\ncat <<'END'\n{error}\nEND")
    refused = guest.run(_lnet.ping(Lnet(), "oss1", [A, B]).check)
    assert refused.returncode == 1
    assert "failed to ping 10.77.2.11@tcp: No route to host" in refused.stderr


# --- targets

OST = Target("ha", "lab", "OST", 0, "ldiskfs", "/dev/null", ((A,),), ((A,),))
[FORMAT] = _target.format_(OST)


def tunefs(guest: Guest, target: str, comment: str = "") -> None:
    shown = f"   Read previous values:\nDevice:     /dev/null\nTarget:     {target}\nIndex:      0\nLustre FS:  lab\n"
    shown += f"Comment: {comment}\n" if comment else ""
    guest.tool("tunefs.lustre", f"cat <<'END'\n{shown}END")


@pytest.mark.parametrize("label", ["lab-OST0000", "lab:OST0000", "lab=OST0000"])
@pytest.mark.parametrize("comment", ["", "vmlab ha lab-OST0000", "somebody's own"])
def test_what_is_formatted_as_ours_stays(guest: Guest, label: str, comment: str) -> None:
    tunefs(guest, label, comment)
    assert guest.run(FORMAT.check).returncode == 0


@pytest.mark.parametrize(
    ("label", "comment"),
    [
        ("lab-OST0001", ""),
        ("other-OST0000", ""),
        ("lab-MDT0000", ""),
        ("MGS", ""),
        ("lab-OST0000", "vmlab hb lab-OST0000"),
    ],
)
def test_what_is_formatted_as_something_else_is_left_alone(guest: Guest, label: str, comment: str) -> None:
    tunefs(guest, label, comment)
    assert guest.run(FORMAT.check).returncode == 1
    refused = guest.run(FORMAT.apply[0])
    assert refused.returncode == 1
    assert f"/dev/null is formatted as {label}" in refused.stderr
    assert refused.stderr.endswith("it is left alone\n")


def test_a_real_recording_of_tunefs(guest: Guest) -> None:
    recorded = (CASES / "tunefs-print.txt").read_text().partition("\n")[2].partition("exiting because")[0]
    guest.tool("tunefs.lustre", f"cat <<'END'\n{recorded}END")
    assert guest.run(FORMAT.check).returncode == 0


@pytest.mark.parametrize(("bed", "status"), [("z-zfs", 0), ("other", 1)])
def test_the_comment_of_a_pool_says_whose_it_is(guest: Guest, bed: str, status: int) -> None:
    recorded = (CASES / "tunefs-zfs.txt").read_text().partition("\n")[2]
    guest.tool("tunefs.lustre", f"cat <<'END'\n{recorded}END")
    guest.tool("zpool", "exit 0")
    [format_] = _target.format_(Target(bed, "lustre", "OST", 0, "zfs", "/dev/null", ((A,),), ((A,),)))
    assert guest.run(format_.check).returncode == status
    assert "formatted as lustre-OST0000 (vmlab z-zfs lustre-OST0000)" in guest.run(format_.apply[0]).stderr


def test_an_empty_disk_may_be_formatted_and_any_other_not(guest: Guest) -> None:
    guest.tool("tunefs.lustre", "echo 'has not been formatted with mkfs.lustre' >&2; exit 19")
    assert guest.run(FORMAT.check).returncode == 1
    guest.tool("blkid", "exit 2")
    assert guest.run(FORMAT.apply[0]).returncode == 0
    guest.tool("blkid", "echo gpt")
    refused = guest.run(FORMAT.apply[0])
    assert (refused.returncode, refused.stderr) == (1, "/dev/null holds gpt: it is left alone\n")
    guest.tool("blkid", "exit 8")
    assert guest.run(FORMAT.apply[0]).stderr == "/dev/null holds something: it is left alone\n"


def test_a_disk_is_erased_until_it_is_empty(guest: Guest) -> None:
    [erase] = _target.erase(OST)
    guest.tool("blkid", "exit 2")
    assert guest.run(erase.check).returncode == 0
    guest.tool("blkid", "echo ext4")
    assert guest.run(erase.check).returncode == 1
    guest.tool("wipefs", "")
    assert guest.run(erase.apply[0]).returncode == 0
    assert guest.calls()[-1] == "wipefs -q -a /dev/null"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("wipefs"), reason="real wipefs and blkid on a file")
def test_real_signatures_on_a_real_file(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 22))
    [erase] = _target.erase(Target("ha", "lab", "OST", 0, "ldiskfs", str(disk), ((A,),), ((A,),)))

    def run(command: Command) -> int:
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert run(erase.check) == 0
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    assert run(erase.check) != 0
    assert run(erase.apply[0]) == 0
    assert run(erase.check) == 0


# /proc/mounts itself cannot be changed here: the scripts' own text is run on another file.
MOUNTS = """\
/dev/vdc /mnt/lab-OST0000 lustre_tgt rw,svname=lab-OST0000,mgsnode=10.77.0.10@tcp,osd=osd-ldiskfs 0 0
/dev/vdd /mnt/lab-OST0001 lustre ro 0 0
10.77.0.10@tcp:10.77.0.11@tcp:/lab /mnt/lab lustre rw,flock 0 0
"""


def with_mounts(command: Command, tmp_path: Path, text: str = MOUNTS) -> Command:
    path = tmp_path / "mounts"
    path.write_text(text)
    assert "/proc/mounts" in command[2]
    return (*command[:2], command[2].replace("/proc/mounts", str(path)), *command[3:])


def mounted(index: int) -> Command:
    target = Target("ha", "lab", "OST", index, "ldiskfs", "/dev/null", ((A,),), ((A,),))
    return _target.mount(target, Version(2, 17), None)[0].check


def test_a_target_is_mounted_when_its_service_runs(guest: Guest, tmp_path: Path) -> None:
    running = "  3 UP obdfilter lab-OST0000 lab-OST0000_UUID 3\n  4 UP obdfilter lab-OST0001 lab-OST0001_UUID 3"
    guest.tool("lctl", f"echo '{running}'")
    assert guest.run(with_mounts(mounted(0), tmp_path)).returncode == 0
    assert guest.run(with_mounts(mounted(1), tmp_path)).returncode == 0  # before 2.12 without svname
    assert guest.run(with_mounts(mounted(2), tmp_path)).returncode == 1
    guest.tool("lctl", "echo '  3 ST obdfilter lab-OST0000 lab-OST0000_UUID 3'")
    assert guest.run(with_mounts(mounted(0), tmp_path)).returncode == 1


def test_an_mgt_in_memory_is_mounted(guest: Guest, tmp_path: Path) -> None:
    said = (CASES / "mount-wbcfs-ok.txt").read_text().splitlines()
    target = Target("z", "lustre", "MGT", 0, "wbcfs", "", ((A,),), ())
    [step] = _target.mount(target, Version(2, 17), None)
    guest.tool("lctl", f"cat <<'END'\n{chr(10).join(said[2:])}\nEND")
    assert guest.run(with_mounts(step.check, tmp_path, said[1])).returncode == 0
    assert guest.run(with_mounts(step.check, tmp_path)).returncode == 1


POOL = Target("z", "lab", "OST", 0, "zfs", "/dev/disk/by-id/virtio-lab-OST0000", ((A,),), ((A,),))


def test_a_host_id_is_the_guest_s_own_and_not_its_image_s(guest: Guest, tmp_path: Path) -> None:
    uuid, found = tmp_path / "uuid", tmp_path / "hostid"
    uuid.write_text("0C1D2E3F-7c8a-4a55-8a39-4f6b6a0f0d11\n")

    def here(command: Command) -> Command:
        script = command[2].replace("/sys/class/dmi/id/product_uuid", str(uuid)).replace("/etc/hostid", str(found))
        return (*command[:2], script, *command[3:])

    host_id = next(step for step in _target.prepare(POOL) if step.name == "host id")
    (guest.bin / "cut").symlink_to(shutil.which("cut") or "")
    guest.tool("hostid", f"cat {found}")
    guest.tool("zgenhostid", f'printf "%s" "$2" >{found}')
    found.write_text("007f0101")
    assert guest.run(here(host_id.check)).returncode == 1
    assert guest.run(here(host_id.apply[0])).returncode == 0
    assert found.read_text() == "0c1d2e3f"
    assert guest.run(here(host_id.check)).returncode == 0
    uuid.write_text("00000000-0000-0000-0000-000000000000\n")
    assert guest.run(here(host_id.apply[0])).returncode == 1


def test_a_pool_in_a_partition_that_is_new_here_is_taken_by_force(guest: Guest, tmp_path: Path) -> None:
    [mount] = _target.mount(POOL, Version(2, 17), None)
    apply = (*mount.apply[0][:6], str(tmp_path / "at"), "true")
    guest.tool("udevadm", "exit 0")
    read = tmp_path / "partitions-are-read"
    guest.tool("blockdev", f": >{read}")
    guest.tool("zpool", f'case "$*" in *" -f "*) [ -e {read} ] ;; *) exit 1 ;; esac')
    assert guest.run(apply).returncode == 0
    place = "-o cachefile=none -d /dev/disk/by-id vmlab-lab-OST0000"
    assert guest.calls() == [
        "zpool list -H vmlab-lab-OST0000",
        f"zpool import -N -f {place}",
        f"blockdev --rereadpt {POOL.disk}",
        "udevadm settle --timeout=30",
        f"zpool import -N -f {place}",
    ]


def test_a_pool_that_a_partner_has_is_not_mounted(guest: Guest) -> None:
    [mount] = _target.mount(POOL, Version(2, 17), None)
    guest.tool("blockdev", "exit 1")
    guest.tool("mount", "exit 0")
    guest.tool("zpool", "echo 'cannot import: pool is currently imported by another host' >&2; exit 1")
    done = guest.run(mount.apply[0])
    assert done.returncode == 1
    assert "imported by another host" in done.stderr
    assert not any(call.startswith("mount") for call in guest.calls())


def test_a_client_of_what_is_gone_unmounts_by_force(guest: Guest) -> None:
    guest.tool("umount", "exit 0")
    for lost, wanted in ((False, "umount /mnt/lab"), (True, "umount -f /mnt/lab")):
        [step] = _client.unmount("lab", "/mnt/lab", lost=lost)
        assert guest.run(step.apply[0]).returncode == 0
        assert guest.calls()[-1] == wanted


def test_another_target_at_its_place_is_not_it(guest: Guest, tmp_path: Path) -> None:
    guest.tool("lctl", "echo '  3 UP obdfilter lab-OST0007 lab-OST0007_UUID 3'")
    check = mounted(7)
    wrong = (*check[:4], "/mnt/lab-OST0000", *check[5:])
    assert guest.run(with_mounts(wrong, tmp_path)).returncode == 1


@pytest.mark.parametrize(
    ("fsname", "point", "status"), [("lab", "/mnt/lab", 0), ("ab", "/mnt/lab", 1), ("lab", "/x", 1)]
)
def test_a_client_has_mounted(guest: Guest, tmp_path: Path, fsname: str, point: str, status: int) -> None:
    [mount] = _client.mount(fsname, ((A,),), point, "flock")
    assert guest.run(with_mounts(mount.check, tmp_path)).returncode == status
    [unmount] = _client.unmount(fsname, point)
    assert guest.run(with_mounts(unmount.check, tmp_path)).returncode == (0 if point == "/x" else 1)


def test_what_is_busy_is_named(guest: Guest) -> None:
    [unmount] = _client.unmount("lab", "/mnt/lab")
    guest.tool("umount", "echo 'umount: /mnt/lab: target is busy.' >&2; exit 32")
    guest.tool("fuser", "echo ' root 812 ..c.. dd' >&2")
    refused = guest.run(unmount.apply[0])
    assert refused.returncode == 32
    assert refused.stderr.splitlines() == ["umount: /mnt/lab: target is busy.", " root 812 ..c.. dd"]


def test_a_mount_that_fails_says_what_the_kernel_says(guest: Guest, tmp_path: Path) -> None:
    guest.tool("dmesg", "echo '[ 1.0] LustreError: can not mount: -16'; echo '[ 1.1] usb 1-1: new device'")
    guest.tool("mount", "exit 16")
    [mount] = _client.mount("lab", ((A,),), str(tmp_path / "at"), "")
    refused = guest.run(mount.apply[0])
    assert (refused.returncode, refused.stderr) == (16, "[ 1.0] LustreError: can not mount: -16\n")
    assert (tmp_path / "at").is_dir()


# --- roles


def test_there_is_a_role_for_each_word() -> None:
    assert set(roles()) == set(Role.__args__)


def test_what_each_role_needs() -> None:
    member = Member("n1", Version(2, 17), LNET, (OST,), (ClientMount("lab", ((A,),), "/mnt/lab", ""),))
    modules = {name: [s.name for s in role.configure(member) if "module" in s.name] for name, role in roles().items()}
    assert modules == {
        "build": [],
        "client": ["module lustre"],
        "fta": ["module lustre"],
        "mds": ["module lustre"],
        "mgs": ["module lustre"],
        "oss": ["module lustre", "module osd_ldiskfs"],
        "router": [],
    }
    # LNet is configured before `lustre` starts it.
    names = [s.name for s in roles()["oss"].configure(member)]
    assert names.index("LNet networks") < names.index("module lustre")


def test_a_node_without_lnet_needs_none() -> None:
    assert roles()["router"].configure(Member("n1", Version(2, 17), Lnet())) == ()
