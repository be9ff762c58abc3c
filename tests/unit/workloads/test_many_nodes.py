"""2,000 nodes without a pattern: ssh takes a command as one word, of which the kernel takes 128 KiB."""

import shlex
from ipaddress import IPv4Address

from pydantic import BaseModel

from vmlab.workloads import Endpoint, Node, workloads

_MAX_ARG_STRLEN = 128 << 10
FACTS = {
    "mpi": "program /usr/bin/ior\nbuilt openmpi\nmpirun openmpi /usr/bin/mpirun\n",
    "memory": "MemTotal: 1048576 kB\n",
    "mounts": "99999999999 /mnt/lustre\n",
    "tools": "ib_write_bw\nib_write_lat\niperf3\nfio\nobdfilter-survey\ngawk\n",
    "iozone": "/usr/bin/iozone\n",
    "osu": "latency /usr/bin/osu_latency\nallreduce /usr/bin/osu_allreduce\n",
    "devices": "".join(f"  {i} UP obdfilter lustre-OST0{i:03x} lustre-OST0{i:03x}_UUID 6\n" for i in range(4)),
}
OPTIONS: dict[str, dict[str, object]] = {
    "ior": {},
    "lnet_selftest": {},
    "rdma": {"verbs": ["write"], "tests": ["bw"], "parallel": True},
    "failover": {},
    "iperf3": {"parallel": True},
    "mdtest": {},
    "hpcc": {},
    "fio": {"size": "1MiB"},
    "command": {"run": "true"},
    "obdfilter_survey": {"together": True},
    "iozone": {},
    "osu": {"tests": ["latency", "allreduce"]},
}


def node(number: int) -> Node:
    address = IPv4Address("10.77.200.11") + 3 * number
    role = "client" if number % 4 else "oss"
    mgmt = Endpoint("mgmt", "management", address, "mgmt")
    ib0 = Endpoint("ib0", "infiniband", address, "ib0", device="mlx5_0")
    return Node(f"{role}{2 * number + 1}", (role,), (mgmt, ib0), FACTS | {"nids": f"lnet_selftest\n{address}@o2ib\n"})


NODES = [node(number) for number in range(2000)]


def test_no_command_is_too_long_for_ssh() -> None:
    assert set(workloads()) >= set(OPTIONS)
    for name, wishes in OPTIONS.items():
        kind = workloads()[name]
        options: BaseModel = kind.options.model_validate(wishes)
        longest = max(
            len(shlex.join(("env", f"VMLAB_RUN=20260801T020000Z-bed-{name}/{m.name}/{t.name}", *t.argv)))
            for r in kind.measurements(options, NODES)
            for m in r
            for t in m.commands
        )
        assert longest < _MAX_ARG_STRLEN, name
