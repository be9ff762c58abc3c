"""What is not a bed's is left alone, however much it looks like it: domains, networks, files, pools, disks in use."""

from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from vmlab.errors import HostError
from vmlab.inventory.claims import read_claims
from vmlab.lab.beds.down import down
from vmlab.lab.beds.status import beds
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.progress import Silent
from vmlab.lab.hosts.gc import collect, leftovers
from vmlab.plan.actions import RemoveNetwork, StopDomain, UndefineDomain
from vmlab.runtime.log import tell_warnings
from vmlab.topology import Topology
from vmlab.virt.connection import Host
from vmlab.virt.observe import observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, IMAGES, MARK, ensure_pool

from .test_up_down import assert_nothing_left, bring_up

OTHER_UUID = "0f2b7a52-6d0e-4c0a-9c1e-766d6c616231"


def take_down(host: Host, *, keep_disks: bool = False) -> None:
    down(only(host), "ha", keep_disks=keep_disks, progress=Silent())


def copy_of(host: Host, domain: str, **changes: str) -> str:
    """The domain's definition without its devices, and with these texts of its elements changed."""
    root = etree.fromstring(host.call(lambda connection: connection.lookupByName(domain).XMLDesc(0)))
    for path, text in changes.items():
        for element in root.findall(path):
            element.text = text
    devices = root.find("devices")
    assert devices is not None
    del devices[:]
    return etree.tostring(root, encoding="unicode")


def define(host: Host, xml: str) -> None:
    host.call(lambda connection: connection.defineXML(xml).create())


def put(host: Host, name: str, *, pool: str = BEDS, backing: str = "", capacity: int = 4096) -> str:
    """A file in a pool; its path."""
    below = f"<backingStore><path>{backing}</path><format type='qcow2'/></backingStore>" if backing else ""
    form = "<target><format type='qcow2'/></target>" if backing else ""
    xml = f"<volume><name>{name}</name><capacity unit='bytes'>{capacity}</capacity>{form}{below}</volume>"
    return str(host.call(lambda connection: connection.storagePoolLookupByName(pool).createXML(xml).path()))


def with_disk(source: str, kind: str = "file", driver: str = "<driver name='qemu' type='qcow2'/>") -> str:
    return (
        f"<domain type='test'><name>other</name><memory>1024</memory><os><type>hvm</type></os><devices>"
        f"<disk type='{kind}'>{driver}<source {source}/><target dev='vda'/></disk></devices></domain>"
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("ha.oss1-clone", {"name": "ha.oss1-clone", "uuid": OTHER_UUID}),  # as virt-clone and virt-manager do it
        ("ha.oss9", {"name": "ha.oss9", "uuid": OTHER_UUID}),
        ("web", {"name": "web", "uuid": OTHER_UUID}),
    ],
)
def test_a_copy_of_a_node_with_our_metadata_is_foreign(
    host: Host, bed: Topology, name: str, changes: dict[str, str]
) -> None:
    bring_up(host, bed)
    define(host, copy_of(host, "ha.oss1", **changes))
    assert set(existing(only(host), "ha").nodes) == {"mds1", "mds2", "oss1", "oss2", "client1"}
    assert [line.nodes for line in beds(host)] == [5]
    xml = host.call(lambda connection: connection.lookupByName(name).XMLDesc())
    (claim,) = read_claims({name: xml}, ())
    assert (claim.bed, claim.node, claim.running) == (None, None, True)
    assert bring_up(host, bed).actions == ()
    take_down(host)
    observed = observe(host)
    assert set(observed.domains) == {name}
    assert observed.domains[name].running
    assert observed.beds == ()
    assert leftovers(host, Path("/nowhere")) == []


def test_a_domain_that_took_a_nodes_name_is_neither_stopped_nor_undefined(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    foreign = copy_of(host, "ha.oss1", uuid=OTHER_UUID)

    def replace(connection: "libvirt.virConnect") -> None:
        old = connection.lookupByName("ha.oss1")
        old.destroy()
        old.undefine()
        connection.defineXML(foreign).create()

    host.call(replace)
    with pytest.raises(HostError, match=r"a domain named ha\.oss1 exists"):
        bring_up(host, bed)
    take_down(host)
    assert observe(host).domains["ha.oss1"].running


def test_what_took_a_name_since_the_look_is_left_alone(host: Host, bed: Topology) -> None:
    """The plan was made of what was there: an action only does it to ours."""
    bring_up(host, bed)
    domain = copy_of(host, "ha.oss1", uuid=OTHER_UUID)
    network = "<network><name>ha.ib0</name><bridge name='virbr7'/></network>"
    take_down(host)
    define(host, domain)
    host.call(lambda connection: connection.networkDefineXML(network).create())
    for kind in (StopDomain, UndefineDomain):
        perform(host, kind("ha.oss1", "oss1", "down"))
    perform(host, RemoveNetwork("ha.ib0", None, "down"))
    observed = observe(host)
    assert observed.domains["ha.oss1"].running
    assert observed.networks["ha.ib0"].active


def test_a_node_that_was_renamed_is_named_by_up(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    renamed = copy_of(host, "ha.oss1", name="precious")

    def replace(connection: "libvirt.virConnect") -> None:
        old = connection.lookupByName("ha.oss1")
        old.destroy()
        old.undefine()
        connection.defineXML(renamed)

    host.call(replace)
    with pytest.raises(HostError, match=r"the domain precious has the UUID of ha\.oss1") as raised:
        bring_up(host, bed)
    assert "virsh domrename precious ha.oss1" in raised.value.hint
    take_down(host)
    assert set(observe(host).domains) == {"precious"}


def test_a_copy_of_a_network_with_our_metadata_is_foreign(host: Host, bed: Topology) -> None:
    bring_up(host, bed)

    def copy(connection: "libvirt.virConnect") -> None:
        for number, (name, uuid) in enumerate((("ha.copy", None), ("ha.other", OTHER_UUID))):
            root = etree.fromstring(connection.networkLookupByName("ha.ib0").XMLDesc())
            for path, text in (("name", name), ("uuid", uuid)):
                element = root.find(path)
                assert element is not None
                if text is None:
                    root.remove(element)
                element.text = text
            bridge = root.find("bridge")
            assert bridge is not None
            bridge.set("name", f"virbr{number + 70}")
            connection.networkDefineXML(etree.tostring(root, encoding="unicode")).create()

    host.call(copy)
    assert bring_up(host, bed).actions == ()
    take_down(host)
    networks = observe(host).networks
    assert (set(networks), all(network.active for network in networks.values())) == ({"ha.copy", "ha.other"}, True)


FOREIGN_FILES = ("ha.notes.img", "windows.qcow2", "ha.oss1.backup.qcow2", "ha.oss1.root.qcow2.orig", "ha._notes.raw")


def test_files_of_others_in_the_pool_stay(host: Host, bed: Topology) -> None:
    bring_up(host, bed)
    for name in FOREIGN_FILES:
        put(host, name)
    put(host, "ha.oss1.console.log.0")  # virtlogd's
    take_down(host, keep_disks=True)
    assert set(FOREIGN_FILES) < set(observe(host).volumes)
    take_down(host)
    assert set(observe(host).volumes) == set(FOREIGN_FILES)
    assert observe(host).beds == ()
    assert collect(host, leftovers(host, Path("/nowhere"))) == []
    assert set(observe(host).volumes) == set(FOREIGN_FILES)


def test_after_a_down_that_was_killed_files_of_others_stay(host: Host, bed: Topology) -> None:
    """No domain tells the nodes any more: the names do."""
    bring_up(host, bed)
    for name in FOREIGN_FILES:
        put(host, name)

    def forget(connection: "libvirt.virConnect") -> None:
        for domain in connection.listAllDomains():
            domain.destroy()
            domain.undefine()

    host.call(forget)
    take_down(host)
    assert set(observe(host).volumes) == set(FOREIGN_FILES)


@pytest.fixture
def elsewhere(host: Host, tmp_path: Path) -> Callable[[str], None]:
    """Somebody else's pool under a name of ours."""

    def make(name: str) -> None:
        place = tmp_path / "elsewhere"
        xml = f"<pool type='dir'><name>{name}</name><target><path>{place}</path></target></pool>"
        host.call(lambda connection: connection.storagePoolDefineXML(xml).create())

    return make


@pytest.mark.parametrize("pool", [BEDS, IMAGES])
def test_a_pool_of_our_name_elsewhere_is_refused(
    host: Host, bed: Topology, elsewhere: Callable[[str], None], pool: str
) -> None:
    elsewhere(pool)
    put(host, "windows.qcow2", pool=pool)
    for command in (lambda: bring_up(host, bed), lambda: leftovers(host, Path("/nowhere"))):
        with pytest.raises(HostError, match=rf"the storage pool {pool} lies in .*/elsewhere") as raised:
            command()
        assert raised.value.hint.startswith(f"virsh vol-create-as {pool} {MARK} 0")
    names = host.call(lambda connection: connection.storagePoolLookupByName(pool).listVolumes())
    assert names == ["windows.qcow2"]


def test_a_pool_of_our_name_elsewhere_is_ours_with_our_mark(
    host: Host, bed: Topology, elsewhere: Callable[[str], None]
) -> None:
    elsewhere(BEDS)
    put(host, MARK, capacity=0)
    bring_up(host, bed)
    take_down(host)
    assert_nothing_left(host)


def test_a_pool_that_holds_our_volumes_is_marked_once(
    host: Host, bed: Topology, elsewhere: Callable[[str], None]
) -> None:
    """It was made before there were marks, and VMLAB_POOL_DIR is another by now."""
    elsewhere(BEDS)
    put(host, "ha.oss1.disk-scratch.raw")
    take_down(host)
    assert host.call(lambda connection: connection.storagePoolLookupByName(BEDS).listVolumes()) == [MARK]
    bring_up(host, bed)


def test_a_pool_of_ours_is_known_wherever_the_next_one_would_be(
    host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(host, bed)
    take_down(host)
    monkeypatch.setenv("VMLAB_POOL_DIR", "/srv/new")
    ensure_pool(host, BEDS)


def test_a_pool_elsewhere_that_is_off_is_not_started(host: Host, elsewhere: Callable[[str], None]) -> None:
    elsewhere(BEDS)
    host.call(lambda connection: connection.storagePoolLookupByName(BEDS).destroy())
    with pytest.raises(HostError, match="it is off") as raised:
        ensure_pool(host, BEDS)
    assert raised.value.hint == "virsh pool-start vmlab"


def _by_volume(host: Host, name: str) -> str:
    del host
    return with_disk(f"pool='{BEDS}' volume='{name}'", "volume")


def _by_chain(host: Host, name: str) -> str:
    """An overlay in another pool, on top of an overlay, on top of our disk."""
    middle = put(host, "middle.qcow2", pool="default-pool", backing=observe(host).volumes[name].path)
    return with_disk(f"file='{put(host, 'top.qcow2', pool='default-pool', backing=middle)}'")


def _by_chain_of_a_volume(host: Host, name: str) -> str:
    put(host, "top.qcow2", pool="default-pool", backing=observe(host).volumes[name].path)
    return with_disk("pool='default-pool' volume='top.qcow2'", "volume")


def _by_told_chain(host: Host, name: str) -> str:
    below = f"<backingStore type='file'><format type='raw'/><source file='{observe(host).volumes[name].path}'/>"
    top = with_disk("file='/nowhere/top.qcow2'")
    return top.replace("<target dev", f"{below}<backingStore/></backingStore><target dev")


@pytest.mark.parametrize("use", [_by_volume, _by_chain, _by_chain_of_a_volume, _by_told_chain])
@pytest.mark.parametrize("name", ["ha._lustre-OST0000.raw", "ha.oss1.root.qcow2"])
def test_a_disk_that_any_domain_needs_is_not_removed(
    host: Host, bed: Topology, use: Callable[[Host, str], str], name: str
) -> None:
    pool = "<pool type='dir'><name>default-pool</name><target><path>/default-pool</path></target></pool>"
    host.call(lambda connection: connection.storagePoolDefineXML(pool).create())
    bring_up(host, bed)
    other = use(host, name)
    host.call(lambda connection: connection.defineXML(other))
    with pytest.raises(HostError, match="the domain other, which is not of the bed ha, uses"):
        take_down(host)
    assert len(observe(host).bed("ha").nodes) == 5

    def forget(connection: "libvirt.virConnect") -> None:
        for domain in connection.listAllDomains():
            if domain.name() != "other":
                domain.destroy()
                domain.undefine()

    host.call(forget)
    removed = {item.name for item in collect(host, leftovers(host, Path("/nowhere")))}
    assert name not in removed
    assert name in observe(host).volumes


@pytest.fixture
def warnings() -> list[str]:
    told: list[str] = []
    tell_warnings(told.append)
    return told


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("<v:node xmlns:v='https://vmlab.io/xmlns/bed/1' bed='x' name='y'><v:address ip='ten'/></v:node>", "ten"),
        ("<v:node xmlns:v='https://vmlab.io/xmlns/bed/1'><v:address ip='10.0.0.1/24' mtu='big'/></v:node>", "big"),
    ],
)
def test_metadata_that_cannot_be_understood_is_named_and_skipped(
    host: Host, bed: Topology, warnings: list[str], metadata: str, why: str
) -> None:
    odd = f"<domain type='test'><name>odd</name><metadata>{metadata}</metadata><memory>1024</memory>"
    define(host, f"{odd}<os><type>hvm</type></os></domain>")
    fabric = "<v:fabric xmlns:v='https://vmlab.io/xmlns/bed/1' bed='x' name='y' subnet='wide'/>"
    network = f"<network><name>net</name><metadata>{fabric}</metadata><bridge name='virbr9'/></network>"
    host.call(lambda connection: connection.networkDefineXML(network))
    bring_up(host, bed)
    assert len(existing(only(host), "ha").nodes) == 5
    take_down(host)
    assert set(observe(host).domains) == {"odd"}
    assert set(observe(host).networks) == {"net"}
    assert [line.split(":")[0] for line in warnings] == ["domain odd", "network net"]
    assert why in warnings[0]


def test_a_maimed_node_is_named_and_left_alone(host: Host, bed: Topology, warnings: list[str]) -> None:
    bring_up(host, bed)
    maimed = copy_of(host, "ha.oss1").replace('kind="management"', 'kind="lost"')
    assert "lost" in maimed
    host.call(lambda connection: connection.defineXML(maimed))
    assert set(existing(only(host), "ha").nodes) == {"mds1", "mds2", "oss2", "client1"}
    (line,) = warnings
    assert line.startswith("domain ha.oss1: vmlab's metadata of it cannot be understood (it has no management address)")
    with pytest.raises(HostError, match=r"the domain ha\.oss1, which is not of the bed ha, uses"):
        take_down(host)
    assert len(observe(host).domains) == 5
