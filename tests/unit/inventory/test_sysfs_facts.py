import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_hosts import HOSTS, record

from vmlab.errors import HostError
from vmlab.inventory import sysfs as sysfs_texts
from vmlab.inventory.facts import DeviceFacts, Facts, facts_text, read_facts, with_use
from vmlab.inventory.model import Port
from vmlab.inventory.record import read_record
from vmlab.inventory.sysfs import available_kib, read_devices
from vmlab.values.pci import PciAddress
from vmlab.virt.sysfs import Sysfs

at = PciAddress.parse
HCA, DUAL, VF, NIC, CX3 = map(at, ("0000:41:00.0", "0000:42:00.0", "0000:41:00.1", "0000:07:00.0", "0000:81:00.0"))
GID = "fe80:0000:0000:0000:0002:c903:000e:b1"
FILES = {
    "0000:41:00.0/sriov_totalvfs": "16",
    "0000:41:00.0/sriov_offset": "1",
    "0000:41:00.0/sriov_stride": "1",
    "0000:41:00.0/infiniband/mlx5_0/ports/1/state": "4: ACTIVE",
    "0000:41:00.0/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand",
    "0000:41:00.0/infiniband/mlx5_0/ports/1/sm_lid": "0x3",
    "0000:41:00.0/infiniband/mlx5_0/ports/1/gids/0": f"{GID}9d",
    "0000:41:00.0/net/ib0/address": "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:b1:9d",
    "0000:41:00.0/net/ib0.8001/address": "80:00:02:09:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:b1:9d",
    # RoCE, and a representor of a virtual function in switchdev mode.
    "0000:42:00.0/infiniband/mlx5_1/ports/1/state": "1: DOWN",
    "0000:42:00.0/infiniband/mlx5_1/ports/1/link_layer": "Ethernet",
    "0000:42:00.0/infiniband/mlx5_1/ports/1/sm_lid": "0x0",
    "0000:42:00.0/infiniband/mlx5_1/ports/1/gids/0": "fe80:0000:0000:0000:0000:0000:0000:0000",
    "0000:42:00.0/net/ens2_0/address": "02:00:00:00:00:01",
    "0000:42:00.0/net/ens2_0/dev_port": "0",
    "0000:42:00.0/net/ens2_0/phys_port_name": "pf0vf0",
    "0000:42:00.0/net/ens2np0/address": "b8:ce:f6:00:00:01",
    "0000:42:00.0/net/ens2np0/dev_port": "0",
    "0000:42:00.0/net/ens2np0/phys_port_name": "p0",
    # Two ports, one function; an unset GID.
    "0000:81:00.0/infiniband/mlx4_0/ports/2/state": "2: INIT",
    "0000:81:00.0/infiniband/mlx4_0/ports/2/link_layer": "InfiniBand",
    "0000:81:00.0/infiniband/mlx4_0/ports/2/gids/0": "fe80:0000:0000:0000:0000:0000:0000:0000",
    "0000:81:00.0/infiniband/mlx4_0/ports/1/state": "4: ACTIVE",
    "0000:81:00.0/infiniband/mlx4_0/ports/1/link_layer": "InfiniBand",
    "0000:81:00.0/infiniband/mlx4_0/ports/1/gids/0": f"{GID}01",
    "0000:07:00.0/net/ens1f0/address": "90:e2:ba:00:07:00",
    "0000:07:00.0/net/ens1f0/operstate": "up",
    "0000:07:00.0/net/ens1f0/dev_port": "0",
    "10000:e1:00.0/sriov_totalvfs": "4",
}
MEMINFO = """\
Node 1 MemTotal:        2062328 kB
Node 1 MemFree:         1000000 kB
Node 1 Active(file):       1000 kB
Node 1 Inactive(file):      200 kB
Node 1 SReclaimable:         30 kB
Node 1 HugePages_Total:     0
"""


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    """A real tree of files, read by the real reader."""
    for name, text in FILES.items():
        path = tmp_path / "bus/pci/devices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    node = tmp_path / "devices/system/node/node1/meminfo"
    node.parent.mkdir(parents=True)
    node.write_text(MEMINFO)
    return Sysfs.local(tmp_path)


def test_ports_and_virtual_functions(sysfs: Sysfs) -> None:
    found = read_devices(sysfs.read_many(sysfs_texts.PATTERNS))
    assert found == {
        NIC: DeviceFacts(ports=(Port(1, "ethernet", "ens1f0", mac="90:e2:ba:00:07:00", state="up"),)),
        HCA: DeviceFacts(
            16,
            1,
            1,
            (Port(1, "infiniband", "ib0", "mlx5_0", guid="0002:c903:000e:b19d", state="ACTIVE", sm_lid=3),),
        ),
        DUAL: DeviceFacts(ports=(Port(1, "ethernet", "ens2np0", "mlx5_1", mac="b8:ce:f6:00:00:01", state="DOWN"),)),
        CX3: DeviceFacts(
            ports=(
                Port(1, "infiniband", rdma="mlx4_0", guid="0002:c903:000e:b101", state="ACTIVE"),
                Port(2, "infiniband", rdma="mlx4_0", state="INIT"),
            )
        ),
        at("10000:e1:00.0"): DeviceFacts(total_vfs=4),
    }


def test_available_memory(sysfs: Sysfs) -> None:
    assert available_kib(sysfs.read_many(sysfs_texts.PATTERNS)) == {1: 1001230}


def test_facts_round_trip(sysfs: Sysfs) -> None:
    devices = with_use(read_devices(sysfs.read_many(sysfs_texts.PATTERNS)), {HCA: "swap"}, {VF: "its reset failed"})
    for more in ((), (frozenset({2, 3, 7}), None), (frozenset(), frozenset({0, 1}))):
        facts = Facts(48 << 20, devices, *more)
        assert read_facts(facts_text(facts)) == facts
    assert (devices[HCA].used_by, devices[VF].broken) == ("swap", "its reset failed")


def test_facts_go_over_what_node_devices_tell() -> None:
    files = record(HOSTS["fta-1s"])
    address = at("0000:04:00.0")
    port = {"number": 1, "link_layer": "infiniband", "interface": "ib0", "rdma": "mlx4_0", "state": "DOWN"}
    files["facts.json"] = json.dumps({"devices": {str(address): {"ports": [port]}, "0000:99:00.0": {}}})
    function = read_record("h", files).functions[address]
    assert function.ports == (Port(1, "infiniband", "ib0", "mlx4_0", guid="0002:c903:0000:0401", state="DOWN"),)
    assert function.total_vfs == 16


def test_a_physical_function_is_needed_when_one_of_its_virtual_ones_is() -> None:
    files = record(HOSTS["fta-1s"])
    files["facts.json"] = json.dumps({"devices": {"0000:04:00.3": {"used_by": "the default route, over ib0"}}})
    function = read_record("h", files).functions[at("0000:04:00.0")]
    assert function.used_by == "its virtual function 0000:04:00.3: the default route, over ib0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "facts.json: no JSON"),
        ("[" * 100_000, "facts.json: no JSON"),
        ("[]", "facts.json: an empty list is no object"),
        ('{"device": {}}', "facts.json: 'device' is not known (expected one of devices, guest_cpus, "),
        ('{"isolated_cpus": "2-"}', "facts.json: isolated_cpus: '2-' is no list of CPUs"),
        ('{"guest_cpus": 3}', "facts.json: guest_cpus: 3 is no text"),
        ('{"memory_kib": true}', "facts.json: memory_kib: true is no whole number"),
        ('{"devices": {"41:00.0": {}}}', "'41:00.0' is no PCI address"),
        ('{"devices": {"0000:41:00.0": {"ports": {}}}}', "0000:41:00.0: ports: an empty mapping is no list"),
        ('{"devices": {"0000:41:00.0": {"ports": [{}]}}}', "port 1: number is missing"),
        ('{"devices": {"0000:41:00.0": {"ports": [{"number": 1, "link_layer": "x"}]}}}', "'x' is neither infiniband"),
        ('{"devices": {"0000:41:00.0": {"ports": [{"number": 1, "guid": "x"}]}}}', "'x' is no GUID"),
        ('{"devices": {"0000:41:00.0": {"used_by": 1}}}', "used_by: 1 is no text"),
    ],
)
def test_wrong_facts_are_refused(text: str, message: str) -> None:
    with pytest.raises(HostError) as raised:
        read_facts(text)
    assert message in raised.value.message


@given(st.dictionaries(st.sampled_from([f"bus/pci/devices/{name}" for name in FILES]), st.text(max_size=40)))
def test_any_text_in_sysfs(files: dict[str, str]) -> None:
    assert read_facts(facts_text(Facts(None, read_devices(files)))) is not None


@pytest.mark.parametrize(
    ("files", "isolated", "guests"),
    [
        ({}, set(), None),
        ({"devices/system/cpu/isolated": "2-3,7\n"}, {2, 3, 7}, None),
        # What cpuset partitions have for themselves; the guests' slice, and not what all may use.
        (
            {
                "devices/system/cpu/isolated": "7",
                "fs/cgroup/cpuset.cpus.isolated": "4-5",
                "fs/cgroup/machine.slice/cpuset.cpus.effective": "2-7",
                "fs/cgroup/cpuset.cpus.effective": "0-7",
            },
            {4, 5, 7},
            {2, 3, 4, 5, 6, 7},
        ),
        ({"fs/cgroup/cpuset/machine/cpuset.effective_cpus": "0-1"}, set(), {0, 1}),
        ({"fs/cgroup/cpuset/cpuset.effective_cpus": "0-3"}, set(), {0, 1, 2, 3}),
        ({"devices/system/cpu/isolated": "nonsense", "fs/cgroup/cpuset.cpus.effective": ""}, set(), None),
    ],
)
def test_which_cpus_guests_are_kept_off(files: dict[str, str], isolated: set[int], guests: set[int] | None) -> None:
    assert sysfs_texts.isolated_cpus(files) == isolated
    assert sysfs_texts.guest_cpus(files) == guests
    assert {path for path in files if files[path]} <= set(sysfs_texts.PATTERNS)


def test_what_systemd_is_configured_to_counts_before_the_first_guest_runs() -> None:
    everything = {"fs/cgroup/cpuset.cpus.effective": "0-7"}
    assert sysfs_texts.guest_cpus(everything, "2-5 7\n") == {2, 3, 4, 5, 7}
    assert sysfs_texts.guest_cpus(everything, "\n") == set(range(8))
    assert sysfs_texts.guest_cpus({}, "2-3") == {2, 3}


def test_a_recorded_host_has_them() -> None:
    files = record(HOSTS["fta-1s"]) | {"facts.json": '{"isolated_cpus": "1-11", "guest_cpus": "0-9"}'}
    host = read_record("h", files)
    assert host.isolated == frozenset(range(1, 12))
    assert host.guest_cpus == frozenset(range(10))
