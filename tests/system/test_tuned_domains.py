"""The golden tuned domains are taken by libvirt's QEMU driver, which finds a place for every device in them.

The driver runs inside virsh, with a folder of its own: the host's libvirtd is not asked, and no guest starts. So the
functions, cells and pages that the domains name need not exist.
"""

import subprocess
from pathlib import Path

import pytest
from lxml import etree

GOLDEN = sorted((Path(__file__).parents[1] / "golden/domains/tuned").glob("*.xml"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's folder, kept between domains: in an empty one it asks QEMU for its capabilities first."""
    return tmp_path_factory.mktemp("qemu")


def defined(path: Path, driver: Path, tmp_path: Path) -> etree._Element:
    """The domain as the driver keeps it. Guests of KVM become emulated ones: not every machine has /dev/kvm."""
    domain = etree.parse(path).getroot()
    domain.set("type", "qemu")
    cpu = domain.find("cpu")
    assert cpu is not None
    cpu.set("mode", "maximum")
    file = tmp_path / "domain.xml"
    file.write_bytes(etree.tostring(domain))
    name = domain.findtext("name")
    commands = f"define --validate {file}; dumpxml --inactive {name}; undefine {name}"
    argv = ("virsh", "-q", "-c", f"qemu:///embed?root={driver}", commands)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert not done.stderr, done.stderr
    return etree.fromstring(done.stdout)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_qemu_driver_places_every_device(path: Path, driver: Path, tmp_path: Path) -> None:
    asked, kept = etree.parse(path).getroot(), defined(path, driver, tmp_path)
    controllers = {c.get("index"): c for c in kept.iterfind("devices/controller[@type='pci']")}
    # No controller beyond those asked for: had an index left a gap, libvirt would have filled it.
    assert len(controllers) == len(asked.findall("devices/controller[@type='pci']"))
    assert sorted(int(index or "") for index in controllers) == list(range(len(controllers)))
    cells = {hostdev_source(h): cell_of(h, controllers) for h in kept.iterfind("devices/hostdev")}
    assert cells == {hostdev_source(h): cell_of(h, by_index(asked)) for h in asked.iterfind("devices/hostdev")}
    for device in kept.xpath("devices/disk | devices/interface | devices/hostdev | devices/rng"):
        assert device.find("address[@type='pci']") is not None, device.tag
        if device.tag != "hostdev":
            assert cell_of(device, controllers) is None


def by_index(domain: etree._Element) -> dict[str | None, etree._Element]:
    return {c.get("index"): c for c in domain.iterfind("devices/controller[@type='pci'][@index]")}


def hostdev_source(hostdev: etree._Element) -> tuple[str, ...]:
    address = hostdev.find("source/address")
    assert address is not None
    return tuple(str(address.get(part)) for part in ("domain", "bus", "slot", "function"))


def cell_of(device: etree._Element, controllers: dict[str | None, etree._Element]) -> str | None:
    """The guest cell of the expander bus that a device's root port is on; None on the main bus, or not placed yet."""
    address = device.find("address")
    if address is None:
        return None
    port = controllers[str(int(address.get("bus", ""), 16))]
    above = port.find("address")
    return None if above is None else controllers[str(int(above.get("bus", ""), 16))].findtext("target/node")
