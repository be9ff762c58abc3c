"""The steps' shell scripts, run by the real shell; the tools that need Lustre are stand-ins that print what they print.

No step is applied here that would touch this machine: what is left of PATH are the stand-ins and coreutils.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from vmlab.lustre import lnetconf, lnetping, trouble
from vmlab.lustre.lnetconf import Lnet, LnetInterface, Via, import_text, modprobe_text
from vmlab.lustre.target import Target, mkfs_argv
from vmlab.lustre.version import Version
from vmlab.roles import ROLES, ClientMount, Member, _client, _lnet, _modules, _mount, _target
from vmlab.steps import Command, Step, file
from vmlab.topology.bed import Role
from vmlab.values.nid import Nid

CASES = Path(__file__).parents[2] / "cases" / "lustre"
REAL = ("sh", "awk", "cat", "cmp", "dirname", "echo", "grep", "head", "mkdir", "mv", "printf", "readlink", "sed")
REAL = (*REAL, "date", "flock", "rm", "sleep", "sort", "tail", "timeout", "tr", "wc")
SCRIPTS = {
    f"{module.__name__}.{name}": text
    for module in (_client, _lnet, _modules, _mount, _target)
    for name, text in vars(module).items()
    if name.isupper() and not name.startswith("__") and isinstance(text, str) and not text.startswith(("/", "["))
} | {"lnetping": lnetping.PING}


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
LNET = Lnet((LnetInterface("ib0", "52:54:00:00:00:01", A),), (Via("tcp", GATEWAY, 1), Via("o2ib1", GATEWAY, 2)))


def step(name: str, config: Lnet = LNET) -> Step:
    return next(step for step in _lnet.steps(config) if step.name == name)


def test_networks_are_compared_whole(guest: Guest) -> None:
    networks = step("LNet networks", Lnet((*LNET.interfaces, LnetInterface("eth", "52:54:00:00:00:02", B))))
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


@pytest.mark.parametrize(
    ("built", "called"), [("lnetctl", "lnetctl lnet configure --all"), ("lctl", "lctl network up")]
)
def test_a_router_does_the_same_when_it_boots(guest: Guest, built: str, called: str) -> None:
    guest.tool(built, "")
    boot = step("/etc/systemd/system/lnet.service.d/vmlab.conf", Lnet(LNET.interfaces, forwarding=True))
    unit = boot.check[-1].splitlines()
    # systemd adds to the list unless it is emptied first.
    assert unit[:3] == ["[Service]", "ExecStart=", "ExecStart=/sbin/modprobe lnet"]
    start = shlex.split(unit[3].removeprefix("ExecStart=/bin/"))
    assert guest.run(tuple(start)).returncode == 0
    assert guest.calls() == [called]


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


def test_files(guest: Guest, tmp_path: Path) -> None:
    path = str(tmp_path / "lnet.conf")
    text = import_text(LNET) + modprobe_text(LNET)
    written = file(path, text)
    assert guest.run(written.check).returncode != 0
    assert guest.run(written.apply[0]).returncode == 0
    assert guest.run(written.check).returncode == 0
    assert Path(path).read_text() == text


# --- pings

OLD, NEW = Version(2, 12, 9), Version(2, 17, 57)
R1, R2, FAR = Nid.parse("10.77.1.21@o2ib"), Nid.parse("10.77.1.22@o2ib"), Nid.parse("10.77.3.9@tcp1")
DIRECT = lnetconf.Path(A, GATEWAY)
ROUTED = lnetconf.Path(A, FAR, (R1, R2))

# LNet as it behaves: in turn over the routers that it holds for up, with a count of what went to each. A folder holds
# what is wrong: `down-NID` of a route, `dead-NID` of what does not answer, `avoided-NID` of a router with a bad health,
# `both` where something else talks over all routers, too.
LNETCTL = """
up=
for gateway in {routers}; do
    [ -e {folder}/down-$gateway ] || [ -e {folder}/avoided-$gateway ] || up="$up $gateway"
done
case $1 in
    route) for gateway in {routers}; do
        state=up
        [ ! -e {folder}/down-$gateway ] || state=down
        printf -- '-     net: tcp1\\n      gateway: %s\\n      hop: 1\\n      state: %s\\n' $gateway $state
    done ;;
    peer)
        count=$(cat {folder}/count-$4 2>/dev/null || echo 0)
        printf 'peer:\\n-     primary nid: 10.77.9.9@o2ib\\n      peer ni:\\n'
        printf '      -     nid: 10.77.9.9@o2ib\\n            sent_stats:\\n                  get: 7\\n'
        printf '            received_stats:\\n                  get: %s\\n' $(cat {folder}/turn 2>/dev/null)
        printf '      -     nid: %s\\n            sent_stats:\\n                  put: 3\\n' $4
        printf '                  get: %s\\n            received_stats:\\n                  get: 99\\n' $count ;;
    discover) rm -f {folder}/down-$2 {folder}/dead-$2 ;;
    ping)
        for nid; do :; done
        dead=
        [ ! -e {folder}/dead-$nid ] || dead=1
        [ "$4" != --source ] || [ ! -e {folder}/dead-$5 ] || dead=1
        if [ $nid = {far} ]; then
            turn=$(($(cat {folder}/turn 2>/dev/null || echo 0) + 1))
            echo $turn >{folder}/turn
            set -- $up
            [ $# = 0 ] || shift $((turn % $#))
            [ -z "$1" ] || [ ! -e {folder}/dead-$1 ] || dead=1
            [ -n "$1" ] || dead=1
            [ ! -e {folder}/both ] || set -- $up
            for gateway in ${{1:-}} ${{2:+$([ ! -e {folder}/both ] || echo $2)}}; do
                echo $(($(cat {folder}/count-$gateway 2>/dev/null || echo 0) + 1)) >{folder}/count-$gateway
            done
        fi
        if [ -n "$dead" ]; then
            printf "manage:\\n- ping:\\n  errno: -113\\n  descr: ! 'failed to ping $nid: No route to host'\\n" >&2
            exit 1
        fi
        printf 'ping:\\n- primary nid: %s\\n  Multi-Rail: true\\n' $nid ;;
esac
"""


@pytest.fixture
def network(guest: Guest, tmp_path: Path) -> Path:
    """The folder of what is wrong with the network."""
    folder = tmp_path / "network"
    folder.mkdir()
    guest.tool("lnetctl", LNETCTL.format(folder=folder, far=FAR, routers=f"{R1} {R2}"))
    return folder


def answered(guest: Guest, paths: list[lnetconf.Path], version: Version = NEW) -> set[tuple[str, str, str, str]]:
    """Source, NID and router of each path, and what is wrong with it."""
    done = guest.run(lnetping.command(paths, version))
    found = lnetping.answers(done.stdout, paths, version)
    assert (done.returncode == 0) == all(one.ok for one in found), done.stderr
    assert len(done.stderr.splitlines()) == sum(not one.ok for one in found)
    return {(one.source, one.nid, one.via, one.said) for one in found}


def test_a_ping_names_both_ends(guest: Guest, network: Path) -> None:
    assert answered(guest, [DIRECT, lnetconf.Path(B, GATEWAY)]) == {
        (str(A), str(GATEWAY), "", ""),
        (str(B), str(GATEWAY), "", ""),
    }
    (network / f"dead-{A}").touch()
    assert answered(guest, [DIRECT, lnetconf.Path(B, GATEWAY)]) == {
        (str(A), str(GATEWAY), "", "No route to host"),
        (str(B), str(GATEWAY), "", ""),
    }
    refused = guest.run(_lnet.ping("oss1", [DIRECT], NEW).check)
    assert refused.returncode == 1
    assert refused.stderr == f"failed to ping {GATEWAY} from {A}: No route to host\n"


def test_every_router_is_waited_for_until_a_ping_went_over_it(guest: Guest, network: Path) -> None:
    assert answered(guest, [ROUTED]) == {(str(A), str(FAR), str(R1), ""), (str(A), str(FAR), str(R2), "")}
    assert sum("ping" in call for call in guest.calls()) == 2
    assert {(network / f"count-{router}").read_text() for router in (R1, R2)} == {"1\n"}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (f"dead-{R2}", "No route to host"),
        (f"down-{R2}", "the route is down"),
        (f"avoided-{R2}", "LNet sends nothing over it"),
    ],
)
def test_a_router_that_does_not_forward_is_named_though_another_does(
    guest: Guest, network: Path, wrong: str, why: str
) -> None:
    (network / wrong).touch()
    assert answered(guest, [ROUTED]) == {(str(A), str(FAR), str(R1), ""), (str(A), str(FAR), str(R2), why)}
    assert f"failed to ping {FAR} from {A} via {R2}: {why}\n" in guest.run(lnetping.command([ROUTED], NEW)).stderr


def test_a_nid_that_is_dead_is_dead_over_each_router(guest: Guest, network: Path) -> None:
    (network / f"dead-{FAR}").touch()
    assert {why for *_, why in answered(guest, [ROUTED])} == {"No route to host"}


def test_what_else_goes_over_the_routers_makes_none_of_them_bad(guest: Guest, network: Path) -> None:
    (network / "both").touch()
    assert {why for *_, why in answered(guest, [ROUTED])} == {""}


def test_a_router_that_was_down_is_discovered_between_two_pings(guest: Guest, network: Path) -> None:
    (network / f"down-{R2}").touch()
    step = _lnet.ping("oss1", [DIRECT, ROUTED], NEW)
    assert guest.run(step.check).returncode == 1
    assert (network / f"down-{R2}").exists()
    assert guest.run(step.apply[0]).returncode == 0
    assert f"lnetctl discover {R2}" in guest.calls()
    assert sum(str(GATEWAY) in call for call in guest.calls()) == 2, "what had answered was asked again"


def test_lustre_that_cannot_choose_the_source_is_asked_once_for_each_nid(guest: Guest, network: Path) -> None:
    assert network.exists()
    assert answered(guest, [DIRECT, lnetconf.Path(B, GATEWAY)], OLD) == {("", str(GATEWAY), "", "")}
    assert guest.calls() == [f"lnetctl ping --timeout 10 {GATEWAY}"]
    assert answered(guest, [ROUTED], OLD) == {("", str(FAR), str(R1), ""), ("", str(FAR), str(R2), "")}


def test_the_first_lnetctl_cannot_ping(guest: Guest) -> None:
    guest.tool("lctl", f"[ $2 = {GATEWAY} ] && echo 12345-0@lo || echo 'failed to ping $2: Input/output error' >&2")
    assert answered(guest, [DIRECT], Version(2, 10, 8)) == {("", str(GATEWAY), "", "")}
    assert answered(guest, [lnetconf.Path(A, B)], Version(2, 10, 8)) == {("", str(B), "", "Input/output error")}
    assert guest.calls()[0] == f"lctl ping {GATEWAY} 10"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Writer error: failed to resolve Netlink family id", "LNet is not loaded here"),
        ("opening /dev/lnet failed: No such file or directory", "LNet is not loaded here"),
        ('manage:\n- ping:\n  errno: -3\n  descr: ! "Network is down"', "LNet has no network here"),
        ("IOC_LIBCFS_GET_NI error 100: Network is down", "LNet has no network here"),
        (f"manage:\n- ping:\n  errno: -100\n  descr: ! 'failed to ping {B}: Network is down'", "Network is down"),
        ("", "no answer within 10 s"),
    ],
)
def test_a_node_without_lnet_is_not_taken_for_one_that_does_not_answer(guest: Guest, said: str, why: str) -> None:
    for tool in ("lnetctl", "lctl"):
        guest.tool(tool, f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    for version in (Version(2, 10, 8), NEW):
        assert {told for *_, told in answered(guest, [lnetconf.Path(A, B)], version)} == {why}


def test_without_lustre_s_tools_nothing_answers(guest: Guest) -> None:
    assert {why for *_, why in answered(guest, [DIRECT])} == {"no answer within 10 s"}


# --- targets

OST = Target("ha", "lab", "OST", 0, "ldiskfs", "/dev/null", ((A,),), ((A,),))
[FORMAT] = _target.format_(OST)


def tunefs(guest: Guest, target: str, comment: str = "", flags: str = "OST ", mgs: str = str(A)) -> None:
    shown = f"   Read previous values:\nDevice:     /dev/null\nTarget:     {target}\nIndex:      0\nLustre FS:  lab\n"
    shown += f"Flags:      0x62\n              ({flags})\n"
    shown += f"Parameters: mgsnode={mgs} failover.node=10.77.1.8@tcp\n" if mgs else "Parameters:\n"
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
    [own] = _target.format_(replace(OST, mgs=((Nid.parse("10.77.0.10@tcp"),),)))
    assert guest.run(own.check).returncode == 0
    assert guest.run(FORMAT.check).returncode == 1


@pytest.mark.parametrize(
    ("mgs", "status"),
    [(f"{A}", 0), (f"{B},{A}", 0), (f"{B}:{A}", 0), (f"{B} mgsnode={A}", 0), (f"1{A}", 1), (f"{B}", 1), ("", 1)],
)
def test_a_target_that_asks_another_mgs_is_not_ours(guest: Guest, mgs: str, status: int) -> None:
    tunefs(guest, "lab-OST0000", mgs=mgs)
    assert guest.run(FORMAT.check).returncode == status
    [mount] = _target.mount(OST, Version(2, 17), None)
    known = guest.run(mount.apply[0])
    assert known.returncode == status
    if status:
        shown = mgs or "no node"
        assert known.stderr == f"/dev/null is formatted for the MGS at {shown}, not at {A}: it is not mounted\n"


@pytest.mark.parametrize(("flags", "status"), [("MDT MGS first_time ", 0), ("MDT first_time ", 1)])
def test_an_mdt_without_the_mgs_that_should_lie_on_it_is_refused(guest: Guest, flags: str, status: int) -> None:
    mdt = replace(OST, kind="MDT", manages=True)
    tunefs(guest, "lab-MDT0000", flags=flags, mgs="")
    [mount] = _target.mount(mdt, Version(2, 17), None)
    assert guest.run(mount.apply[0]).returncode == status


@pytest.mark.parametrize("label", ["lab-OST0001", "other-OST0000", ""])
def test_another_target_is_not_mounted(guest: Guest, label: str) -> None:
    """Mounting it would succeed, and the MGS would take it in."""
    tunefs(guest, label)
    [mount] = _target.mount(OST, Version(2, 17), None)
    refused = guest.run(mount.apply[0])
    assert refused.returncode == 1
    assert refused.stderr.endswith(": it is not mounted\n")


@pytest.mark.parametrize(("bed", "status"), [("z-zfs", 0), ("other", 1)])
def test_the_comment_of_a_pool_says_whose_it_is(guest: Guest, bed: str, status: int) -> None:
    recorded = (CASES / "tunefs-zfs.txt").read_text().partition("\n")[2]
    guest.tool("tunefs.lustre", f"cat <<'END'\n{recorded}END")
    guest.tool("zpool", "exit 0")
    mgs = Nid.parse("10.77.1.11@tcp")
    [format_] = _target.format_(Target(bed, "lustre", "OST", 0, "zfs", "/dev/null", ((mgs,),), ((mgs,),)))
    assert guest.run(format_.check).returncode == status
    refused = "formatted as lustre-OST0000 (vmlab z-zfs lustre-OST0000)" in guest.run(format_.apply[0]).stderr
    assert refused == bool(status)


def test_an_empty_disk_may_be_formatted_and_any_other_not(guest: Guest) -> None:
    guest.tool("tunefs.lustre", "echo 'has not been formatted with mkfs.lustre' >&2; exit 19")
    guest.tool("mkfs.lustre", "")
    assert guest.run(FORMAT.check).returncode == 1
    guest.tool("blkid", "echo gpt")
    refused = guest.run(FORMAT.apply[0])
    assert (refused.returncode, refused.stderr) == (1, "/dev/null holds gpt (label gpt): it is left alone\n")
    guest.tool("blkid", "exit 8")
    assert guest.run(FORMAT.apply[0]).stderr == "/dev/null holds something: it is left alone\n"
    assert not any(call.startswith("mkfs") for call in guest.calls())
    guest.tool("blkid", "exit 2")
    assert guest.run(FORMAT.apply[0]).returncode == 0
    assert guest.calls()[-1] == " ".join(mkfs_argv(OST))


def test_a_format_that_was_broken_off_is_done_again(guest: Guest) -> None:
    """mke2fs has labelled the disk, and mkfs.lustre has not yet written what makes it a target."""
    guest.tool("tunefs.lustre", "exit 19")
    guest.tool("mkfs.lustre", "")
    guest.tool("blkid", 'case "$*" in *LABEL*) echo lab:OST0000 ;; *) echo ext4 ;; esac')
    assert guest.run(FORMAT.apply[0]).returncode == 0
    assert guest.calls()[-1].startswith("mkfs.lustre")
    # One that was mounted has a dash: what it held may still be there.
    guest.tool("blkid", 'case "$*" in *LABEL*) echo lab-OST0000 ;; *) echo ext4 ;; esac')
    assert guest.run(FORMAT.apply[0]).stderr == "/dev/null holds ext4 (label lab-OST0000): it is left alone\n"
    # Every MGT is labelled MGS, mounted or not.
    [mgt] = _target.format_(replace(OST, kind="MGT"))
    guest.tool("blkid", 'case "$*" in *LABEL*) echo MGS ;; *) echo ext4 ;; esac')
    assert guest.run(mgt.apply[0]).stderr == "/dev/null holds ext4 (label MGS): it is left alone\n"


MDT = replace(OST, kind="MDT", manages=True)
PATCHED = 'case "$*" in -V) echo "mke2fs 1.47.1-wc1 (10-Jul-2024)" >&2 ;; *) exit 0 ;; esac'
STOCK = """
case "$*" in
    -V) echo "mke2fs 1.47.0 (5-Feb-2023)" >&2 ;;
    *dirdata*) echo "Invalid filesystem option set: dirdata" >&2; exit 1 ;;
esac
"""


def empty(guest: Guest, mke2fs: str) -> None:
    """A disk that may be formatted, with such e2fsprogs."""
    guest.tool("tunefs.lustre", "exit 19")
    guest.tool("blkid", "exit 2")
    guest.tool("mkfs.lustre", "")
    guest.tool("mke2fs", mke2fs)
    guest.tool("mktemp", f"echo {guest.log}.empty")


def formats(guest: Guest) -> bool:
    return any(call.startswith("mkfs.lustre") for call in guest.calls())


def test_an_mdt_is_not_formatted_with_e2fsprogs_that_cannot(guest: Guest) -> None:
    empty(guest, STOCK)
    [mdt] = _target.format_(MDT)
    refused = guest.run(mdt.apply[0])
    assert refused.returncode == 1
    assert not formats(guest)
    found = trouble.explain(refused.stderr)
    assert found is not None
    assert found.message == (
        "the guest's mke2fs does not know dirdata: its e2fsprogs (1.47.0) are without Lustre's patches, "
        "and /dev/null is not formatted"
    )
    assert "e2fsprogs" in found.hint


@pytest.mark.parametrize(
    ("target", "mke2fs"),
    [
        (MDT, PATCHED),
        (MDT, "echo 'no such file' >&2; exit 127"),  # what is not known is not known to be missing
        (OST, STOCK),  # an OST has no names
        (replace(MDT, backend="zfs"), STOCK),
    ],
)
def test_what_e2fsprogs_can_do_is_formatted(guest: Guest, target: Target, mke2fs: str) -> None:
    empty(guest, mke2fs)
    guest.tool("zpool", "exit 0")
    assert guest.run(_target.format_(target)[0].apply[0]).returncode == 0
    assert formats(guest)


def test_lustre_may_bring_programs_of_its_own(guest: Guest) -> None:
    empty(guest, STOCK)
    guest.tool("mkfs.ldiskfs", "")
    assert guest.run(_target.format_(MDT)[0].apply[0]).returncode == 0
    assert formats(guest)


def test_the_mke2fs_of_this_machine_is_asked_as_it_wants_to_be(tmp_path: Path) -> None:
    """A feature that all know is taken, and one that none knows is refused in the words that are looked for."""
    image = tmp_path / "empty"
    image.touch()

    def said(feature: str) -> str:
        argv = ["mke2fs", "-q", "-n", "-F", "-O", feature, str(image), "1024"]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stderr

    assert 'mke2fs -q -n -F -O dirdata "$file" 1024' in _target._PATCHED
    assert "Invalid filesystem option set" not in said("quota")
    assert "Invalid filesystem option set: nosuch" in said("nosuch")


def test_what_another_vmlab_formatted_meanwhile_is_taken(guest: Guest) -> None:
    tunefs(guest, "lab:OST0000", OST.comment)
    guest.tool("mkfs.lustre", "")
    assert guest.run(FORMAT.apply[0]).returncode == 0
    assert not any(call.startswith("mkfs") for call in guest.calls())


def test_an_mdt_takes_clients_when_an_ost_is_connected(guest: Guest) -> None:
    [found] = _target.connected(replace(OST, kind="MDT", index=1))
    guest.tool("lctl", "echo '    state: DISCONN'; echo '    state: CONNECTING'")
    assert guest.run(found.check).returncode == 1
    assert guest.calls() == ["lctl get_param -n os[pc].lab-OST*-osc-MDT0001.import"]
    guest.tool("lctl", f"[ $(wc -l <{guest.log}) -lt 3 ] || echo '    state: FULL'")
    assert guest.run(found.apply[0]).returncode == 0
    assert guest.run(found.check).returncode == 0


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
    at = command.index("-c") + 1
    assert "/proc/mounts" in command[at]
    return (*command[:at], command[at].replace("/proc/mounts", str(path)), *command[at + 1 :])


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
    apply = (*mount.apply[-1][:8], str(tmp_path / "at"), "true")
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
    wrong = tuple("/mnt/lab-OST0000" if word == "/mnt/lab-OST0007" else word for word in check)
    assert guest.run(with_mounts(wrong, tmp_path)).returncode == 1


@pytest.mark.parametrize(
    ("fsname", "point", "status"), [("lab", "/mnt/lab", 0), ("ab", "/mnt/lab", 1), ("lab", "/x", 1)]
)
def test_a_client_has_mounted(guest: Guest, tmp_path: Path, fsname: str, point: str, status: int) -> None:
    [mount] = _client.mount(fsname, ((A,),), point, "flock")
    assert guest.run(with_mounts(mount.check, tmp_path)).returncode == status
    [unmount] = _client.unmount(fsname, point)
    assert guest.run(with_mounts(unmount.check, tmp_path)).returncode == (0 if point == "/x" else 1)


def test_an_umount_that_another_vmlab_began_is_waited_for(guest: Guest) -> None:
    """Nothing is listed as mounted there any more, and it still writes."""
    guest.tool("umount", "exit 1")
    [unmount] = _client.unmount("lab", "/mnt/vmlab test")
    argv = ["umount", "-c", "import time; time.sleep(2)", "/mnt/vmlab test"]
    assert guest.run(unmount.check).returncode == 0
    with subprocess.Popen(argv, executable=sys.executable) as process:
        while b"umount" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        assert guest.run(unmount.check).returncode == 1
        [other] = _client.unmount("lab", "/mnt/vmlab")
        assert guest.run(other.check).returncode == 0
        assert guest.run(unmount.apply[0]).returncode == 0
        assert process.poll() is not None
    assert guest.run(unmount.check).returncode == 0
    assert guest.calls() == []


def framework_s(tmp_path: Path, command: Command) -> Command:
    """As it looks where the test framework has mounted OST0000 of the disk vdc, and MDT0001 of another one."""
    blocks, devices = tmp_path / "block", tmp_path / "dev"
    for name, holders, mapped in (
        ("vdc", ["dm-0"], ""),
        ("dm-0", ["dm-4"], "vmlab-lab-OST0000"),
        ("dm-4", [], "ost1_flakey"),
        ("vdd", ["dm-5"], ""),
        ("dm-5", [], "mds2_flakey"),
    ):
        (blocks / name / "holders").mkdir(parents=True, exist_ok=True)
        for holder in holders:
            (blocks / name / "holders" / holder).touch()
        if mapped:
            (blocks / name / "dm").mkdir(exist_ok=True)
            (blocks / name / "dm" / "name").write_text(f"{mapped}\n")
        devices.mkdir(exist_ok=True)
        (devices / name).touch()
        (devices / (mapped or f"by-id-{name}")).unlink(missing_ok=True)
        (devices / (mapped or f"by-id-{name}")).symlink_to(name)
    mounts = f"""\
{devices}/ost1_flakey /mnt/lustre-ost1 lustre rw,svname=lab-OST0000,mgsnode=10.77.1.11@tcp,osd=osd-ldiskfs 0 0
{devices}/mds2_flakey /mnt/lustre-mds2 lustre rw,svname=lab-MDT0001,mgsnode=10.77.1.11@tcp,osd=osd-ldiskfs 0 0
10.77.1.11@tcp:/lab /mnt/lab lustre rw,flock 0 0
{devices}/vda / ext4 rw 0 0
"""
    at = command.index("-c") + 1
    text = command[at].replace("/sys/class/block", str(blocks))
    return with_mounts((*command[:at], text, *command[at + 1 :]), tmp_path, mounts)


def test_what_the_test_framework_mounted_is_unmounted_and_its_devices_go(guest: Guest, tmp_path: Path) -> None:
    for tool, works in (("umount", 0), ("dmsetup", 0)):
        guest.tool(tool, f"exit {works}")
    for disk, gone in (
        ("by-id-vdc", ["umount /mnt/lustre-ost1", "dmsetup remove --retry ost1_flakey"]),
        ("vmlab-lab-OST0000", ["umount /mnt/lustre-ost1", "dmsetup remove --retry ost1_flakey"]),
        ("by-id-vdd", ["umount /mnt/lustre-mds2", "dmsetup remove --retry mds2_flakey"]),
        ("no-such-disk", []),
    ):
        target = Target("ha", "lab", "OST", 0, "ldiskfs", f"{tmp_path}/dev/{disk}", ((A,),), ((A,),))
        [_, free] = _target.unmount(target)
        assert guest.run(framework_s(tmp_path, free.check)).returncode == (1 if gone else 0)
        before = len(guest.calls())
        assert guest.run(framework_s(tmp_path, free.apply[0])).returncode == 0
        assert guest.calls()[before:] == gone
    guest.tool("umount", "echo 'target is busy.' >&2; exit 32")
    target = Target("ha", "lab", "OST", 0, "ldiskfs", f"{tmp_path}/dev/vdc", ((A,),), ((A,),))
    refused = guest.run(framework_s(tmp_path, _target.unmount(target)[1].apply[0]))
    assert (refused.returncode, refused.stderr) == (32, "target is busy.\n")
    assert guest.calls()[-1] == "umount /mnt/lustre-ost1"


def test_what_is_busy_is_named(guest: Guest, tmp_path: Path) -> None:
    """Who is in the folder, has a file of it open or mapped; a name that only begins like it is another's."""
    at, beside = tmp_path / "lab", tmp_path / "lab2"
    at.mkdir()
    beside.mkdir()
    [unmount] = _client.unmount("lab", str(at))
    guest.tool("umount", "echo 'target is busy.' >&2; exit 32")
    with (at / "file").open("w") as file:
        users = [
            subprocess.Popen(("sleep", "61"), cwd=at),
            subprocess.Popen(("sleep", "62"), stdout=file),
            subprocess.Popen(("sleep", "63"), cwd=beside),
        ]
    try:
        refused = guest.run(unmount.apply[0])
    finally:
        for user in users:
            user.kill()
            user.wait()
    assert refused.returncode == 32
    named = {f"{user.pid} sleep {seconds} " for user, seconds in zip(users[:2], (61, 62), strict=True)}
    assert {*refused.stderr.splitlines()} == {"target is busy.", *named}


@pytest.mark.parametrize(
    ("version", "helpers", "lacks"),
    [
        (Version(2, 17), ("mount.lustre",), "the guest has no /sbin/mount.lustre_tgt"),
        (Version(2, 15), (), "the guest has no /sbin/mount.lustre,"),
        (Version(2, 17), ("mount.lustre", "mount.lustre_tgt"), "the kernel does not know lustre_tgt"),
    ],
)
def test_a_target_that_cannot_be_mounted_names_what_is_missing(
    guest: Guest, tmp_path: Path, version: Version, helpers: tuple[str, ...], lacks: str
) -> None:
    said = "mount: /mnt/x: wrong fs type, bad option, bad superblock on /dev/vdc, missing codepage or helper program."
    for helper in helpers:
        guest.tool(helper, "")
    guest.tool("mount", f"echo '{said}' >&2; exit 32")
    guest.tool("dmesg", "echo '[ 1.0] LustreError: Missing mount data: check /sbin/mount.lustre_tgt is installed.'")
    guest.tool("grep", 'case "$*" in *filesystems*) exit 1 ;; esac; exec /usr/bin/grep "$@"')
    argv = ("sh", "-c", _mount.MOUNT, "vmlab", str(tmp_path / "at"), version.target_type, "mount", "/dev/vdc")
    failed = guest.run(argv)
    assert failed.returncode == 32
    found = trouble.explain(failed.stderr)
    assert found is not None
    assert found.message.startswith(lacks)


def test_a_mount_that_fails_says_what_the_kernel_says(guest: Guest, tmp_path: Path) -> None:
    guest.tool("dmesg", "echo '[ 1.0] LustreError: can not mount: -16'; echo '[ 1.1] usb 1-1: new device'")
    guest.tool("mount", "exit 16")
    [mount] = _client.mount("lab", ((A,),), str(tmp_path / "at"), "")
    refused = guest.run(mount.apply[0])
    assert refused.returncode == 16
    assert refused.stderr.endswith("[ 1.0] LustreError: can not mount: -16\n")
    assert (tmp_path / "at").is_dir()


# --- roles


def test_there_is_a_role_for_each_word() -> None:
    assert set(ROLES) == set(Role.__args__)


def test_what_each_role_needs() -> None:
    member = Member("n1", Version(2, 17), LNET, (OST,), (ClientMount("lab", ((A,),), "/mnt/lab", ""),))
    modules = {name: [s.name for s in role.configure(member) if "module" in s.name] for name, role in ROLES.items()}
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
    names = [s.name for s in ROLES["oss"].configure(member)]
    assert names.index("LNet networks") < names.index("module lustre")


def test_a_node_without_lnet_needs_none() -> None:
    assert ROLES["router"].configure(Member("n1", Version(2, 17), Lnet())) == ()
