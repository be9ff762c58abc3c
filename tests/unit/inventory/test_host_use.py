"""What the host needs, from texts in the form that Linux prints them."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.inventory.host_use import Wiring, broken, carried, opened, used_by
from vmlab.values.pci import PciAddress

ROOT_COMPLEX = "../../devices/pci0000:00"
NIC0, NIC1, HCA, NVME, SAS = (f"0000:{bus}:00.0" for bus in ("01", "02", "41", "22", "05"))
WIRING = Wiring(
    interfaces={
        "lo": "../../devices/virtual/net/lo",
        "eno1": f"{ROOT_COMPLEX}/0000:00:01.0/{NIC0}/net/eno1",
        "eno2": f"{ROOT_COMPLEX}/0000:00:01.1/{NIC1}/net/eno2",
        "bond0": "../../devices/virtual/net/bond0",
        "bond0.100": "../../devices/virtual/net/bond0.100",
        "br0": "../../devices/virtual/net/br0",
        "ib0": f"../../devices/pci0000:40/0000:40:01.0/{HCA}/net/ib0",
        "ib0.8001": f"../../devices/pci0000:40/0000:40:01.0/{HCA}/net/ib0.8001",
        "virt0": f"{ROOT_COMPLEX}/0000:00:03.0/virtio2/net/virt0",
        "ovs-system": "../../devices/virtual/net/ovs-system",
        "br-ex": "../../devices/virtual/net/br-ex",
        "vnet0": "../../devices/virtual/net/vnet0",
    },
    blocks={
        "sda": f"{ROOT_COMPLEX}/{SAS}/host0/target0:0:0/0:0:0:0/block/sda",
        "sda1": f"{ROOT_COMPLEX}/{SAS}/host0/target0:0:0/0:0:0:0/block/sda/sda1",
        "sdb": f"{ROOT_COMPLEX}/0000:00:1f.2/ata1/host1/target1:0:0/1:0:0:0/block/sdb",
        "dm-0": "../../devices/virtual/block/dm-0",
        "md127": "../../devices/virtual/block/md127",
        "md127p1": "../../devices/virtual/block/md127/md127p1",
        "nvme0n1": "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1",
        "nvme0n1p2": "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2",
        "nvme0c0n1": f"../../devices/pci0000:20/0000:20:01.0/{NVME}/nvme/nvme0/nvme0c0n1",
        "loop0": "../../devices/virtual/block/loop0",
    },
    below={
        "bond0": frozenset({"eno1", "eno2"}),
        "bond0.100": frozenset({"bond0"}),
        "br0": frozenset({"bond0.100", "vnet0"}),
        "ovs-system": frozenset({"eno2"}),
        "dm-0": frozenset({"sda1", "sdb"}),
        "md127": frozenset({"sda", "sdb"}),
    },
    numbers={"8:1": "sda1", "253:0": "dm-0", "259:7": "md127p1", "259:2": "nvme0n1p2", "7:0": "loop0"},
    mapped={"vg-swap": "dm-0"},
)


def needed(routes: object = (), mounts: str = "", swaps: str = "", wiring: Wiring = WIRING) -> Mapping[str, str]:
    found = used_by(wiring, routes=json.dumps(routes), mounts=mounts, swaps=swaps)
    return {str(address): reason for address, reason in found.items()}


def default(device: str) -> object:
    return [{"dst": "default", "gateway": "192.0.2.1", "dev": device, "flags": []}]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("eno1", {NIC0: "the default route, over eno1"}),
        ("virt0", {"0000:00:03.0": "the default route, over virt0"}),
        ("ib0.8001", {HCA: "the default route, over ib0.8001"}),
        (
            "br0",
            {
                NIC0: "the default route, over br0, bond0.100, bond0 and eno1",
                NIC1: "the default route, over br0, bond0.100, bond0 and eno2",
            },
        ),
        ("br-ex", {NIC1: "the default route, over br-ex, ovs-system and eno2"}),
        ("lo", {}),
    ],
)
def test_the_default_route(device: str, expected: Mapping[str, str]) -> None:
    assert needed(default(device)) == expected


def test_a_default_route_of_two_hops_and_half_of_everything() -> None:
    hops = [{"dst": "default", "nexthops": [{"gateway": "192.0.2.1", "dev": "eno1"}, {"dev": "eno2"}]}]
    assert list(needed(hops)) == [NIC0, NIC1]
    assert list(needed([{"dst": "128.0.0.0/1", "dev": "ib0"}])) == [HCA]
    assert needed([{"type": "unreachable", "dst": "default", "dev": "eno1"}]) == {}


MOUNTS = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:5 / /dev rw,nosuid shared:2 - devtmpfs udev rw,size=1k
23 21 259:7 / /scratch\040disk rw - xfs /dev/md127p1 rw
24 21 259:2 / /var rw - ext4 /dev/nvme0n1p2 rw
25 21 0:40 /sub /srv rw - btrfs /dev/mapper/vg-swap rw
26 21 7:0 / /snap rw - squashfs /dev/loop0 ro
"""
NETWORK_MOUNTS = """
30 21 0:50 / /home rw - nfs4 filer:/home rw,vers=4.2,proto=rdma,clientaddr=10.0.0.9,addr=10.0.0.1
31 21 0:51 / /lustre rw - lustre 10.0.1.1@o2ib:10.0.1.2@o2ib:/lustre rw,flock
32 21 0:52 / /cifs rw - cifs //filer/share rw,addr=fd00:1::5
33 21 0:53 / /data rw - ceph 192.168.7.1:6789,192.168.7.2:6789:/ rw
"""


def test_mounted_file_systems() -> None:
    assert needed(mounts=MOUNTS) == {
        "0000:00:1f.2": "the file system mounted at /scratch disk, over md127p1, md127 and sdb"
        " and the file system mounted at /srv, over dm-0 and sdb",
        SAS: "the file system mounted at /, over sda1"
        " and the file system mounted at /scratch disk, over md127p1, md127 and sda"
        " and the file system mounted at /srv, over dm-0 and sda1",
        NVME: "the file system mounted at /var, over nvme0n1p2, nvme0n1 and nvme0c0n1",
    }


def test_many_places_are_counted() -> None:
    mounts = "".join(f"2{i} 1 8:1 / /m{i} rw - ext4 /dev/sda1 rw\n" for i in range(9))
    assert needed(mounts=mounts) == {SAS: "the file systems mounted at /m0, /m1, /m2 and 6 more, over sda1"}


def test_mounts_over_the_network() -> None:
    routes = [
        {"dst": "default", "dev": "eno1"},
        {"dst": "10.0.0.0/16", "dev": "eno2"},
        {"dst": "10.0.1.0/24", "dev": "ib0"},
        {"dst": "fd00:1::/64", "dev": "eno2"},
        {"type": "local", "dst": "10.0.1.1", "dev": "lo", "table": "local"},
    ]
    assert needed(routes, NETWORK_MOUNTS) == {
        NIC0: "the default route, over eno1 and the file system mounted at /data, over eno1",
        NIC1: "the file systems mounted at /cifs and /home, over eno2",
        HCA: "the file system mounted at /lustre, over ib0",
    }


def test_swap() -> None:
    swaps = "Filename Type Size Used Priority\n/dev/dm-0 partition 8 0 -2\n/swapfile file 8 0 -3\n"
    assert needed(swaps=swaps) == {"0000:00:1f.2": "swap, over dm-0 and sdb", SAS: "swap, over dm-0 and sda1"}


def test_a_ring_ends() -> None:
    ring = Wiring({"a": "", "b": ""}, {}, {"a": frozenset({"b"}), "b": frozenset({"a"})})
    assert needed(default("a"), wiring=ring) == {}


@given(st.text(), st.text(), st.text())
def test_any_text(routes: str, mounts: str, swaps: str) -> None:
    used_by(WIRING, routes=routes, mounts=mounts, swaps=swaps)
    broken(routes)


LOG = """\
[    1.0] pci 0000:41:00.1: [15b3:1018] type 00 class 0x020700
[  100.1] vfio-pci 0000:41:00.1: not ready 1023ms after FLR; waiting
[  165.4] vfio-pci 0000:41:00.1: not ready 65535ms after FLR; giving up
[  170.0] vfio-pci 0000:41:00.2: not ready 1023ms after FLR; waiting
[  171.0] vfio-pci 0000:41:00.2: ready 2047ms after FLR
[  180.0] vfio-pci 0000:42:00.0: Unable to change power state from D3cold to D0, device inaccessible
[  190.0] vfio-pci 0000:43:00.0: pci_reset_function failed: -25
[  200.0] pcieport 0000:40:01.0: not ready 65535ms after bus reset; giving up
[  201.0] pcieport 0000:40:01.0: ready 70000ms after bus reset
[  210.0] mlx5_core 0000:44:00.0: reset of queue 7 failed
"""


def test_devices_that_did_not_come_back() -> None:
    says = "its reset failed, as the kernel says: "
    assert {str(address): reason for address, reason in broken(LOG).items()} == {
        "0000:41:00.1": f"{says}not ready 65535ms after FLR; giving up",
        "0000:42:00.0": f"{says}Unable to change power state from D3cold to D0, device inaccessible",
        "0000:43:00.0": f"{says}pci_reset_function failed: -25",
    }
    assert broken(LOG)[PciAddress.parse("0000:41:00.1")]


def test_domains_of_five_digits_are_blamed_right() -> None:
    wiring = Wiring(
        {"ens1": "../../devices/pci0000:64/0000:64:05.5/pci10000:00/10000:00:02.0/10000:01:00.0/net/ens1"}, {}
    )
    assert list(needed(default("ens1"), wiring=wiring)) == ["10000:01:00.0"]
    log = "[ 9.1] pci 10000:01:00.0: not ready 65535ms after FLR; giving up"
    assert [str(address) for address in broken(log)] == ["10000:01:00.0"]
    assert not broken(f"{log}\n[ 9.2] pci 10000:01:00.0: ready 1023ms after FLR")


def test_what_is_built_on_a_function_is_in_use() -> None:
    assert {str(address): told for address, told in carried(WIRING).items()} == {
        NIC0: "bond0 on eno1",
        NIC1: "bond0 on eno2 and ovs-system on eno2",
    }
    vf = f"{ROOT_COMPLEX}/0000:00:01.0/0000:01:10.0/net/eno1v0"
    for upper in ("macvtap0", "eno1v0.100", "ipvl0", "br1"):
        wiring = Wiring({upper: f"../../devices/virtual/net/{upper}", "eno1v0": vf}, {}, {upper: frozenset({"eno1v0"})})
        assert carried(wiring) == {PciAddress.parse("0000:01:10.0"): f"{upper} on eno1v0"}


def test_programs_that_have_a_function_open() -> None:
    text = "77 /dev/vfio/60 dpdk-testpmd\n78 /dev/vfio/devices/vfio3 my program\n79 /dev/vfio/6 x\n80\n"
    groups = {"0000:3b:02.0": "60", "0000:3b:02.1": "61", "no function": "60"}
    found = opened(text, groups, {"vfio3": "0000:3b:02.1"})
    assert {str(address): who for address, who in found.items()} == {
        "0000:3b:02.0": "dpdk-testpmd (pid 77)",
        "0000:3b:02.1": "my program (pid 78)",
    }
