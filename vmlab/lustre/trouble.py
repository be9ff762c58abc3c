"""What LNet's and Lustre's error texts mean and what to do about them. One table, the first row that fits counts.

The texts are those of 2.17.57's mkfs.lustre, mount.lustre, lctl, lnetctl and lst, and strerror's words for what the
kernel answered. `passes` is true of what goes away by itself: a mount that fails so is worth another try.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Trouble(NamedTuple):
    """`message` says what is wrong, `hint` what to do; `passes`: the same command may succeed a little later."""

    message: str
    hint: str
    passes: bool = False


class _Row(NamedTuple):
    pattern: str
    message: str
    hint: str
    passes: bool = False


_SYSLOG = "in the guest: dmesg | grep -iE 'lustre|lnet' | tail -n 40"
_PING = r"failed to ping (?P<nid>\S+(?: from \S+)?(?: via [^\s:]+)?)"
_MOUNT = r"mount (?P<what>\S+) at (?P<where>\S+) failed"

_ROWS = (
    # --- a script of vmlab's own says it better
    _Row(
        r"(?P<said>\S+ is no Lustre target: it is not mounted)",
        "{said}",
        "vmlab up FILE, or vmlab fs format BED, formats it if it is empty",
    ),
    _Row(
        r"(?P<said>\S+ (?:is formatted (?:as|for|without)|holds) .*(?:left alone|not mounted))",
        "{said}",
        "if nothing in the whole file system is needed: vmlab fs format BED --reformat",
    ),
    _Row(
        r"cannot import '(?P<pool>\S+)': pool is imported on (?:host )?'?(?P<host>[\w.-]+)",
        "the pool {pool} is imported on {host}, and ZFS gives it to one server only",
        "vmlab fs status BED; on {host}, if its target is not mounted there: zpool export {pool}",
    ),
    # --- modules and LNet
    _Row(
        r"failed to resolve Netlink family id.*Invalid parameters list in command line|"
        r"Invalid parameters list in command line",
        "lst does not find the module lnet_selftest",
        "on every node that takes part: modprobe lnet_selftest",
    ),
    _Row(
        r"failed to resolve Netlink family id|opening /dev/lnet failed|kernel modules may not be loaded",
        "the kernel has no LNet: its modules are not loaded",
        "vmlab up FILE loads them; in the guest: modprobe lnet",
    ),
    _Row(
        r"modprobe: FATAL: Module (?P<module>\S+) not found in directory (?P<where>\S+)",
        "there is no module {module} for the running kernel in {where}",
        "the image's Lustre was built for another kernel: use an image whose modules fit",
    ),
    _Row(
        r"could not insert '?(?P<module>[\w-]+)'?: (?:Invalid argument|Exec format error|Unknown symbol)",
        "the module {module} does not fit the running kernel",
        "the image's Lustre was built for another kernel: use an image whose modules fit",
    ),
    _Row(
        r"error allocating (?P<buffers>\d+x\d+) page router buffers|LNet configure error: Out of memory",
        "the router has too little memory for LNet's buffers, which take 1 GiB by default",
        "give it `memory: 2GiB` or more in the topology, then: vmlab up FILE --restart",
    ),
    _Row(
        r"failed to find UP interface (?P<interface>\S+)",
        "LNet finds no interface {interface} that is up",
        "in the guest: ip -br addr; vmlab up FILE sets addresses and names again",
    ),
    _Row(
        r"No interface matching '(?P<interface>[^']+)'",
        "the guest has no interface {interface} that LNet could use",
        "in the guest: ip -br addr; vmlab up FILE sets addresses and names again",
    ),
    _Row(
        r"Failed to bind (?P<interface>[^:\s]+):\S+ to device|ko2iblnd: Can't initialize device",
        "LNet's o2ib found no RDMA device behind the interface",
        "in the guest: rdma link show; on a virtual NIC it needs soft-RoCE, which vmlab up FILE makes",
    ),
    _Row(
        r"errno: -100\b.*?cannot add LNet NI|cannot add LNet NI.*?errno: -100\b",
        "LNet cannot use the interface: it is unknown or down, or (o2ib) has no RDMA device behind it",
        "in the guest: ip -br addr; rdma link show; dmesg | grep LNetError",
    ),
    _Row(
        r"cannot add LNet NI|Failed to configure NI on net '(?P<net>[^']+)' rc = -22",
        "LNet has this network already",
        "in the guest: lnetctl net show; vmlab up FILE configures LNet anew when nothing is mounted",
    ),
    _Row(
        r"cannot parse net",
        "LNet does not understand the network's name",
        "expected tcp or o2ib and a number, such as tcp1 or o2ib",
    ),
    _Row(r"cannot del network", "LNet has no such network", "in the guest: lnetctl net show"),
    _Row(
        r"LNet stack down|IOC_LIBCFS_GET_NI error 100|LNET configure error 100|could not insert '\w+': Network is down",
        "LNet is loaded and has no network",
        "vmlab up FILE configures it; in the guest: cat /etc/lnet.conf; dmesg | grep LNet",
    ),
    _Row(
        _PING + r": (?P<why>No route to host|Input/output error|Connection timed out|no answer within \d+ s)",
        "{nid} does not answer LNet pings ({why})",
        "vmlab lnet show BED: is that node up, is its LNet configured, are the routers between up?",
        passes=True,
    ),
    _Row(
        _PING + r": Network is down",
        "{nid} does not answer LNet pings: the network is down on one of the two nodes",
        "vmlab lnet show BED; in the guest: ip -br link; rdma link show",
    ),
    # --- lst
    _Row(
        r"create session RPC failed on \S+: Unknown error -(?P<errno>113|110)",
        "a node does not answer lst (errno {errno}): it is down, or lnet_selftest is not loaded there",
        "on that node: modprobe lnet_selftest; lctl list_nids",
    ),
    # --- mkfs
    _Row(
        r"Device (?P<device>\S+) was previously formatted for lustre",
        "{device} is a Lustre target already",
        "vmlab fs status BED says of what; to lose what is on it: vmlab fs format BED --reformat",
    ),
    _Row(
        r"(?P<device>/dev/\S+): is currently mounted, exiting",
        "{device} is mounted: it is not formatted",
        "vmlab fs umount BED",
    ),
    _Row(
        r"(?P<device>/dev/\S+) is apparently in use by the system",
        "{device} is in use by the system: it is not formatted",
        "in the guest: lsblk -f; lsof {device}",
    ),
    _Row(
        r"filesystem name must be 1-8 chars",
        "Lustre takes file system names of at most 8 characters",
        "give it a shorter name in the topology",
    ),
    _Row(
        r"the target index must be specified with --index",
        "a target cannot be formatted without an index",
        "give it an `index` in the topology, or leave the key out and vmlab counts",
    ),
    _Row(
        r"Must specify (?:--mgs or )?--mgsnode",
        "a target cannot be formatted without the NIDs of its MGS",
        "the MGS's servers need a fabric with `lnet`: vmlab lnet show BED",
    ),
    _Row(
        r"loop device requires a --device-size",
        "the target's device does not exist, and mkfs.lustre takes its path for a file",
        "in the guest: ls -l /dev/disk/by-id; vmlab up FILE attaches the disks",
    ),
    _Row(
        r"mkfs\.lustre: (?P<device>\S+) apparently does not exist|unable to prepare backend \(2\)",
        "the target's device does not exist in the guest",
        "in the guest: ls -l /dev/disk/by-id; vmlab up FILE attaches the disks",
    ),
    _Row(
        r"size of filesystem must be larger than (?P<least>\d+)MB, but is set to (?P<has>\d+)KB",
        "the disk is too small for a target: it has {has} KiB, and mkfs.lustre wants more than {least} MiB",
        "give the target more `size` in the topology, then: vmlab up FILE --restart",
    ),
    _Row(
        r"Unable to build fs|mkfs failed \d+",
        "the backend file system could not be made",
        "read the lines above it; in the guest: lsblk -f",
    ),
    # --- mount
    _Row(
        r"Missing mount data: check /sbin/mount\.lustre_tgt|wrong fs type, bad option, bad superblock on ",
        "the guest has no /sbin/mount.lustre_tgt, so mount gives Lustre no target",
        "use an image with the complete Lustre server packages; until then: ln -s mount.lustre /sbin/mount.lustre_tgt",
    ),
    _Row(
        r"mount: .*unknown filesystem type '(?P<kind>lustre\w*)'",
        "the guest cannot mount {kind}: Lustre is not installed, or not its server",
        "use an image that carries Lustre for this node's role",
    ),
    _Row(
        r"(?P<device>\S+) has not been formatted with mkfs\.lustre",
        "{device} is no Lustre target, or of a backend that the image has no tools for",
        "vmlab fs format BED formats what is empty; in the guest: blkid {device}",
    ),
    _Row(
        r"according to \S+ (?P<what>\S+) is already mounted on (?P<where>\S+)|(?P<twice>\S+) is already mounted\.",
        "it is mounted already",
        "vmlab fs status BED",
    ),
    _Row(
        _MOUNT + r": (?:Device or resource busy|Operation now in progress)",
        "{what} is in use: another server has it mounted (MMP), or it is mounted here under another name",
        "vmlab fs status BED says where; a target moves by: vmlab fs failover BED TARGET",
    ),
    _Row(
        _MOUNT + r": Operation already in progress",
        "the target {what} runs on this server already",
        "in the guest: lctl dl; an umount that is not over yet keeps it",
        passes=True,
    ),
    _Row(
        r"mount lustre-wbcfs at /mnt/(?P<label>\S+) failed: Address already in use",
        "{label} was in memory and is gone; the MGS still knows it, and takes no empty one in its place",
        "vmlab fs umount BED; then vmlab up BED begins the file system anew, empty",
    ),
    _Row(
        _MOUNT + r": Address already in use|service's index is already in use",
        "the MGS knows another target with this index: it was formatted anew, or two have one index",
        "vmlab fs format BED --reformat makes the whole file system anew",
    ),
    _Row(
        _MOUNT + r": No such file or directory",
        "the MGS has no file system of the name that {what} ends in, or its MDT was never mounted",
        "vmlab fs status BED: are the MGT and MDT0000 mounted, and is the name right?",
    ),
    _Row(
        _MOUNT + r": No such device(?! or address)",
        "Lustre's modules are not loaded",
        "vmlab up FILE loads them; in the guest: modprobe lustre",
    ),
    _Row(
        _MOUNT + r": No such device or address",
        "the target {what} did not start: its configuration log on the MGS does not fit",
        _SYSLOG,
    ),
    _Row(
        r"peer (?P<nid>\S+) has no available nets|config has no valid NIDs",
        "LNet has neither a network nor a route towards the MGS",
        "vmlab lnet show BED: the node needs a common network with the MGS's servers, or routers between",
    ),
    _Row(
        _MOUNT + r": Invalid argument",
        "{what} was refused: no LNet network or route leads to the MGS, or a mount option is wrong",
        f"vmlab lnet ping BED; {_SYSLOG}",
    ),
    _Row(
        _MOUNT + r": (?:Connection timed out|Input/output error|Connection refused)|"
        r"cannot register this server with the MGS|Is the MGS running\?",
        "the MGS does not answer",
        "vmlab fs status BED: is the MGT mounted? vmlab lnet ping BED: does its server answer?",
        passes=True,
    ),
    _Row(
        _MOUNT + r": (?:Cannot send after transport endpoint shutdown|Transport endpoint is not connected|"
        r"Resource temporarily unavailable|Interrupted system call|Connection reset by peer)",
        "{what} is not ready: a server is starting, or recovers",
        "vmlab fs status BED shows how far recovery is",
        passes=True,
    ),
    _Row(
        r"(?:denying connection for new client|not available for connect|waiting for \d+ clients in recovery)",
        "a target refuses clients while it recovers, or is not mounted on this server",
        "vmlab fs status BED shows how far recovery is, and where the target is mounted",
        passes=True,
    ),
    _Row(
        r"warning: (?P<where>\S+): cannot resolve: No such file or directory",
        "the mount point {where} does not exist",
        "vmlab fs mount BED makes it",
    ),
    _Row(
        r"umount: (?P<where>\S+): target is busy",
        "{where} is in use",
        "in the guest: fuser -vm {where}; end what uses it, or vmlab down BED, which needs no clean umount",
    ),
    _Row(
        r"abort_recovery: Invalid argument",
        "the target is not recovering: there is nothing to abort",
        "vmlab fs status BED",
    ),
    _Row(
        r"No device found for name (?P<name>[^:\s]+)",
        "no target {name} runs on this server",
        "vmlab fs status BED says where it is mounted",
    ),
    _Row(
        _MOUNT + r": (?P<why>.+)",
        "{what} cannot be mounted at {where}: {why}",
        _SYSLOG,
    ),
)

_TABLE = tuple((re.compile(row.pattern, re.DOTALL if ".*?" in row.pattern else 0), row) for row in _ROWS)


def troubles(text: str) -> Iterator[Trouble]:
    """All that the text tells of, in the table's order: causes come before what follows from them."""
    for pattern, row in _TABLE:
        found = pattern.search(text)
        if found is not None:
            words = {name: value or "it" for name, value in found.groupdict().items()}
            yield Trouble(row.message.format_map(words), row.hint.format_map(words), row.passes)


def explain(text: str) -> Trouble | None:
    """What is wrong, from everything that a command printed, and the kernel's log if it is at hand; None: unknown."""
    return next(troubles(text), None)


def passes(text: str) -> bool:
    """Whether the same mount may succeed a little later. What is unknown does not pass."""
    found = explain(text)
    return found is not None and found.passes
