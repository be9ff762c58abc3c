"""The floor of `up`: the same QEMU processes, all started at once, with everything that they need made before.

The command lines are those that libvirt itself makes of the bed's domains, without its own ends: no monitor, and the
network interfaces and the console at places of ours. Needs root, as it makes bridges and taps.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from benchmarks.clock import run

from vmlab.domainxml.network import gateway
from vmlab.domainxml.volume import Volume
from vmlab.errors import GuestError, HostError
from vmlab.guest.child import tied
from vmlab.guest.ssh import Guest
from vmlab.lab.beds.decide import Prepared
from vmlab.lab.beds.prepare import acceleration, images_of, prepare
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.plan.desired import DesiredNode
from vmlab.runtime import process
from vmlab.runtime.iso import iso
from vmlab.runtime.wait import Deadline, now, sleep
from vmlab.topology import Topology
from vmlab.virt.connection import Host
from vmlab.virt.pool import BEDS, ensure_pool

_PREFIX = "vmbench"  # of the bridges and taps: what a killed run left has these names, too
_BOOT_S = 900.0
_HANDSHAKE_S = 300


@dataclass(frozen=True, slots=True)
class Machine:
    """One guest to start, and the door to it."""

    argv: tuple[str, ...]
    guest: Guest


@contextmanager
def laid_out(host: Host, topology: Topology, accel: str) -> Iterator[tuple[Prepared, Path]]:
    """Clones, seeds, shared disks, bridges and taps of a bed that libvirt does not know; all gone afterwards."""
    ensure_pool(host, BEDS)
    images = images_of(only(host), topology)
    with ExitStack() as stack:
        prepared = prepare(only(host), topology, accel=accel, restart=False, images=images)
        prepared.keys.write(tuple(topology.nodes))
        nodes = list(prepared.nodes.values())
        # Beside the beds, not in /tmp: the disks are to lie on the same file system.
        pool = Path(prepared.parts[host.name].observed.pool_path)
        folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=pool.parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for volume in (
            *prepared.parts[host.name].desired.targets,
            *(v for node in nodes for v in (node.root, *node.disks)),
        ):
            _create(folder, volume)
        for node in nodes:
            (folder / node.seed).write_bytes(iso(node.told.documents, node.told.archive))
        _remove_links()
        stack.callback(_remove_links)
        _make_links(prepared)
        yield prepared, folder


@contextmanager
def machines(host: Host, topology: Topology, accel: str) -> Iterator[list[Machine]]:
    """The bed's QEMUs, ready to be started."""
    with laid_out(host, topology, accel) as (prepared, folder):
        pool = Path(prepared.parts[host.name].observed.pool_path)
        yield [
            Machine(
                _argv(host, node, number, pool=pool, folder=folder, vhost=accel == "kvm"),
                Guest(
                    topology.name, node.name, node.metadata.management.ip.ip, node.metadata.user, prepared.keys.folder
                ),
            )
            for number, node in enumerate(prepared.nodes.values())
        ]


def start_and_wait(started: Sequence[Machine]) -> dict[str, float]:
    """Start all, wait until `ssh NODE true` works on all, and end them: seconds until each answered, by node."""
    begin = now()
    over = Event()
    with ExitStack() as stack, ThreadPoolExecutor(len(started)) as pool:
        stack.callback(over.set)
        running = []
        for machine in started:
            command = tied(machine.argv)
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
            stack.callback(running[-1].wait)
            stack.callback(running[-1].kill)
        deadline = Deadline.after(_BOOT_S)
        waits = [
            pool.submit(_answered, machine.guest, qemu, over, deadline)
            for machine, qemu in zip(started, running, strict=True)
        ]
        return {machine.guest.node: wait.result() - begin for machine, wait in zip(started, waits, strict=True)}


def accelerator(host: Host, topology: Topology) -> str:
    """What the bed's guests run on. Finding it out takes long, and vmlab keeps the answer for the commands to come."""
    return acceleration(only(host), "auto", images_of(only(host), topology), Silent())


def _answered(guest: Guest, qemu: "subprocess.Popen[bytes]", over: Event, deadline: Deadline) -> float:
    def alive() -> bool:
        if qemu.poll() is not None:
            raise HostError(f"the QEMU of {guest.node} ended with status {qemu.returncode}")
        return not over.is_set()

    return log_in(guest, deadline, alive)


def log_in(guest: Guest, deadline: Deadline, alive: Callable[[], bool] = lambda: True) -> float:
    """When it could be logged in to; nobody waits for who is not `alive` any more. Raises GuestError."""
    ssh, *rest = guest.argv(("true",))
    command = (ssh, f"-oConnectTimeout={_HANDSHAKE_S}", *rest)
    while alive() and not deadline.passed:
        if guest.listens(0.3) and process.run(command, deadline_s=deadline.left_s).ok:
            return now()
        sleep(0.1)
    raise GuestError(f"{guest.node} did not answer", node=guest.node, stage="ssh")


def bridge_of_all() -> str:
    """The bridge of the management network, which is the first."""
    return f"{_PREFIX}0"


def _create(folder: Path, volume: Volume) -> None:
    backing = ("-b", volume.backing, "-F", "qcow2") if volume.backing is not None else ()
    path = str(folder / volume.name)
    run("qemu-img", "create", "-q", "-f", volume.format, *backing, path, str(volume.capacity))


def _make_links(prepared: Prepared) -> None:
    bridges = {}
    for number, network in enumerate(prepared.parts["local"].desired.networks):
        bridge = bridges[network.metadata.fabric] = f"{_PREFIX}{number}"
        run("ip", "link", "add", bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        if network.routed:
            subnet = network.metadata.subnet
            run("ip", "address", "add", f"{gateway(subnet)}/{subnet.prefixlen}", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
    for number, node in enumerate(prepared.nodes.values()):
        for index, address in enumerate(node.metadata.addresses):
            tap = _tap(number, index)
            run("ip", "tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr")
            fabric = prepared.topology.fabrics.get(address.fabric)
            if fabric is not None and fabric.mtu is not None:
                run("ip", "link", "set", tap, "mtu", str(fabric.mtu))
            run("ip", "link", "set", tap, "master", bridges[address.fabric], "up")


def _tap(node: int, index: int) -> str:
    return f"{_PREFIX}-{node}-{index}"


def _remove_links() -> None:
    for link in Path("/sys/class/net").glob(f"{_PREFIX}*"):
        run("ip", "link", "delete", link.name)


def _argv(host: Host, node: DesiredNode, number: int, *, pool: Path, folder: Path, vhost: bool) -> tuple[str, ...]:
    """libvirt's command line of the domain, with files in `folder`, and with our taps."""
    xml = node.xml.replace(f'"{pool}/', f'"{folder}/')
    words = shlex.split(host.call(lambda connection: connection.domainXMLToNative("qemu-argv", xml, 0)))
    while "=" in words[0]:  # the environment comes first
        words.pop(0)
    argv = [words.pop(0)]
    while words:
        option = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith("-") else None
        if option in ("-S", "-mon") or "masterKey" in (value or "") or "id=charmonitor" in (value or ""):
            continue
        if option == "-netdev" and (found := re.search(r"\bhostnet(\d+)\b", value or "")):
            fast = ",vhost=on" if vhost and Path("/dev/vhost-net").exists() else ""
            value = f"tap,id=hostnet{found[1]},ifname={_tap(number, int(found[1]))},script=no,downscript=no{fast}"
        if option == "-chardev" and "id=charserial0" in (value or ""):
            value = f"file,id=charserial0,path={folder}/{node.name}.console.log"
        argv += [option] if value is None else [option, value]
    return tuple(argv)
