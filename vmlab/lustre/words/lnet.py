"""LNet, lnetctl, lctl and lst."""

from vmlab.lustre.lnetctl import NOT_CONFIGURED, NOT_LOADED
from vmlab.lustre.words import Row

_PING = r"failed to ping (?P<nid>\S+(?: from \S+)?(?: via [^\s:]+)?)"

ROWS = (
    Row(
        r"failed to resolve Netlink family id.*Invalid parameters list in command line|"
        r"Invalid parameters list in command line",
        "lst does not find the module lnet_selftest",
        "on every node that takes part: modprobe lnet_selftest",
    ),
    Row(
        NOT_LOADED,
        "the kernel has no LNet: its modules are not loaded",
        "vmlab up FILE loads them; in the guest: modprobe lnet",
    ),
    Row(
        r"error allocating (?P<buffers>\d+x\d+) page router buffers|LNet configure error: Out of memory",
        "the router has too little memory for LNet's buffers, which take 1 GiB by default",
        "give it `memory: 2GiB` or more in the topology, then: vmlab up FILE --restart",
    ),
    Row(
        r"failed to find UP interface (?P<interface>\S+)",
        "LNet finds no interface {interface} that is up",
        "in the guest: ip -br addr; vmlab up FILE sets addresses and names again",
    ),
    Row(
        r"No interface matching '(?P<interface>[^']+)'",
        "the guest has no interface {interface} that LNet could use",
        "in the guest: ip -br addr; vmlab up FILE sets addresses and names again",
    ),
    Row(
        r"Failed to bind (?P<interface>[^:\s]+):\S+ to device|ko2iblnd: Can't initialize device",
        "LNet's o2ib found no RDMA device behind the interface",
        "in the guest: rdma link show; on a virtual NIC it needs soft-RoCE, which vmlab up FILE makes",
    ),
    Row(
        r"errno: -100\b.*?cannot add LNet NI|cannot add LNet NI.*?errno: -100\b",
        "LNet cannot use the interface: it is unknown or down, or (o2ib) has no RDMA device behind it",
        "in the guest: ip -br addr; rdma link show; dmesg | grep LNetError",
    ),
    Row(
        r"errno: -17\b.*?cannot add LNet NI|cannot add LNet NI.*?errno: -17\b",
        "LNet has this network already",
        "in the guest: lnetctl net show; vmlab up FILE configures LNet anew when nothing is mounted",
    ),
    Row(
        r"cannot parse net",
        "LNet does not understand the network's name",
        "expected tcp or o2ib and a number, such as tcp1 or o2ib",
    ),
    Row(r"cannot del network", "LNet has no such network", "in the guest: lnetctl net show"),
    Row(
        NOT_CONFIGURED,
        "LNet is loaded and has no network",
        "vmlab up FILE configures it; in the guest: cat /etc/lnet.conf; dmesg | grep LNet",
    ),
    Row(
        _PING + r": (?P<why>No route to host|Input/output error|Connection timed out|no answer within \d+ s)",
        "{nid} does not answer LNet pings ({why})",
        "vmlab lnet show BED: is that node up, is its LNet configured, are the routers between up?",
        passes=True,
    ),
    Row(
        _PING + r": (?P<why>LNet (?:is not loaded|has no network) here)",
        "{nid} cannot be pinged: {why}",
        "vmlab up FILE configures LNet; in the guest: lctl list_nids; dmesg | grep LNet",
    ),
    Row(
        _PING + r": Network is down",
        "{nid} does not answer LNet pings: the network is down on one of the two nodes",
        "vmlab lnet show BED; in the guest: ip -br link; rdma link show",
    ),
    Row(
        r"create session RPC failed on \S+: Unknown error -(?P<errno>113|110)",
        "a node does not answer lst (errno {errno}): it is down, or lnet_selftest is not loaded there",
        "on that node: modprobe lnet_selftest; lctl list_nids",
    ),
)
