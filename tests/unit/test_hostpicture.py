"""Pictures of hosts as labs have them: Graphviz must take them, and they must say what is where."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import HostError, UsageError
from vmlab.inventory.model import Cell, Claim, Cpu, HostInventory, PagePool, PciFunction, Port
from vmlab.placement.request import NodePlacement, PlacedCell, PlacedDevice, Placement
from vmlab.report.hostpicture import dot, draw
from vmlab.values.pci import PciAddress

GOLDEN = Path(__file__).parents[1] / "golden" / "hostpicture"
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
GIB = 1 << 20
ODD = '<b>&"x'


def pci(text: str) -> PciAddress:
    return PciAddress.parse(f"0000:{text}")


def cell(number: int, cpus: list[list[int]], gib: int, *, socket: int = 0, **more: object) -> Cell:
    """`cpus` are the threads of each core."""
    threads = tuple(
        Cpu(cpu, socket, 0, core, frozenset(siblings)) for core, siblings in enumerate(cpus) for cpu in siblings
    )
    return Cell(number, gib * GIB, threads, **more)  # type: ignore[arg-type]


def hca(text: str, where: int | None, *, product: str = "MT25408 [ConnectX QDR]", **more: object) -> PciFunction:
    look = {"vendor": 0x15B3, "product": 0x1003, "driver": "mlx4_core", "iommu_group": 10 + int(text[:2], 16), **more}
    return PciFunction(pci(text), 0x020700, product_name=product, cell=where, **look)  # type: ignore[arg-type]


def functions(*every: PciFunction) -> dict[PciAddress, PciFunction]:
    return {function.address: function for function in every}


def claim(
    domain: str, bed: str | None, node: str | None, *takes: object, running: bool = True, **more: object
) -> Claim:
    return Claim(domain, bed, node, running, *takes, **more)  # type: ignore[arg-type]


def fta() -> tuple[HostInventory, Placement]:
    """Eleven nodes of one vCPU, 4 GiB and one VF each on twelve cores: the host keeps one."""
    vfs = tuple(pci(f"05:{n // 8:02x}.{n % 8}") for n in range(1, 17))
    card = hca(
        "05:00.0",
        0,
        product="MT27500 Family [ConnectX-3]",
        virtual_functions=vfs[:8],
        total_vfs=16,
        ports=(Port(1, "infiniband", "ib0", "mlx4_0", state="ACTIVE"),),
    )
    nic = PciFunction(
        pci("01:00.0"), 0x020000, 0x8086, 0x10C9, product_name="82576 Gigabit Network Connection", driver="igb",
        cell=0, iommu_group=9, total_vfs=7, used_by="the default route, over bond0 and br0",
        ports=(Port(1, "ethernet", "eno1", state="up"),),
    )  # fmt: skip
    host = HostInventory(
        "fta-host",
        "x86_64",
        (cell(0, [[n] for n in range(12)], 48, available_kib=47 * GIB),),
        functions(card, nic, *(hca(str(a)[5:], 0, physical_function=card.address) for a in vfs[:8])),
    )
    nodes = {}
    for n in range(11):
        vf = PlacedDevice(
            "ib0", 0, vfs[n], "vf", 0, None, remote=False, physical_function=card.address, vf_number=n, planned=n >= 8
        )
        home = PlacedCell(0, {0: (n + 1,)}, 4 * GIB, None)
        nodes[f"fta{n + 1:02}"] = NodePlacement(f"fta{n + 1:02}", "fta-host", (home,), (0,), (vf,))
    notes = ("fta-host: the host keeps core 0 and 4 GiB",)
    return host, Placement(nodes, {("fta-host", card.address): 11}, notes)


def oss_host(remote: bool = False) -> tuple[HostInventory, Placement]:
    """Two sockets of six cores, two HCAs on each I/O hub. `remote`: the first node has one of the other hub's."""
    host = HostInventory(
        "x5670",
        "x86_64",
        (
            cell(0, [[n] for n in range(0, 12, 2)], 24, available_kib=23 * GIB, distances={0: 10, 1: 21},
                 huge={2048: PagePool(2048, 6144, 6144)}),
            cell(1, [[n] for n in range(1, 12, 2)], 24, socket=1, available_kib=22 * GIB + 400_000,
                 distances={0: 21, 1: 10}, huge={2048: PagePool(2048, 6144, 6144)}),
        ),
        functions(*(
            hca(f"{bus:02x}:00.0", where, ports=(Port(1, "infiniband", f"ib{n}", state="ACTIVE"),))
            for n, (bus, where) in enumerate(((5, 0), (6, 0), (0x85, 1), (0x86, 1)))
        )),
    )  # fmt: skip
    homes = {"oss1": (0, ("05", "85" if remote else "06")), "oss2": (1, ("86",) if remote else ("85", "86"))}
    nodes = {}
    for name, (where, buses) in homes.items():
        vcpus = {n: (where + 2 * n,) for n in range(6)}
        devices = tuple(
            PlacedDevice("ib0", n, pci(f"{bus}:00.0"), "passthrough", int(bus > "80"), 10 + int(bus, 16),
                         remote=int(bus > "80") != where)
            for n, bus in enumerate(buses)
        )  # fmt: skip
        nodes[name] = NodePlacement(name, "x5670", (PlacedCell(where, vcpus, 12 * GIB, 2048),), (), devices)
    notes = ("oss1: 0000:85:00.0 for ib0 is remote: cell 1, the node is in cell 0",) if remote else ()
    return host, Placement(nodes, {}, notes)


def nps4(cells: int = 8, cores: int = 16, name: str = "epyc") -> tuple[HostInventory, Placement]:
    """Two sockets of four cells each, two threads a core, an HCA in every other cell; two nodes a cell."""
    threads = cells * cores
    host = HostInventory(
        name,
        "x86_64",
        tuple(
            cell(
                c,
                [[n, n + threads] for n in range(c * cores, (c + 1) * cores)],
                64,
                socket=c // 4,
                available_kib=63 * GIB,
                distances={o: 10 if o == c else 12 if o // 4 == c // 4 else 32 for o in range(cells)},
                huge={1 << 20: PagePool(1 << 20, 48, 40)},
            )
            for c in range(cells)
        ),
        functions(
            *(
                PciFunction(pci(f"{0x10 * (c + 1):02x}:00.0"), 0x020700, 0x15B3, 0x101B, driver="mlx5_core",
                                 product_name="MT28908 Family [ConnectX-6]", cell=c, iommu_group=c, total_vfs=8)
                for c in range(0, cells, 2)
            )
        ),
        (
            claim("windows-build-server-2019", None, None, frozenset(range(2 * threads - 4, 2 * threads)),
                  {cells - 1: 8 * GIB}),
            claim("registry", None, None, frozenset(), {None: 4 * GIB}),
        ),
    )  # fmt: skip
    nodes = {}
    for c in range(cells):
        for half in range(2):
            first = c * cores + half * 6
            vcpus = {2 * k + t: (first + k + t * threads,) for k in range(6) for t in range(2)}
            devices: tuple[PlacedDevice, ...] = ()
            if c % 2 == 0:
                pf = pci(f"{0x10 * (c + 1):02x}:00.0")
                vf = pf._replace(function=half + 1)
                devices = (
                    PlacedDevice("ib0", 0, vf, "vf", c, None, remote=False, physical_function=pf, vf_number=half,
                                 planned=True),
                )  # fmt: skip
            node = f"client{2 * c + half + 1:02}"
            home = PlacedCell(c, vcpus, 16 * GIB, 1 << 20)
            nodes[node] = NodePlacement(node, name, (home,), (c * cores + 12, c * cores + 12 + threads), devices)
    return host, Placement(nodes, {(name, pci(f"{0x10 * (c + 1):02x}:00.0")): 2 for c in range(0, cells, 2)})


def laptop() -> HostInventory:
    wifi = PciFunction(pci("00:14.3"), 0x028000, 0x8086, 0x51F0, driver="iwlwifi", product_name="Wi-Fi 6E AX211",
                       used_by="the default route", ports=(Port(1, "ethernet", "wlp0s20f3", state="up"),))  # fmt: skip
    return HostInventory(
        "laptop",
        "x86_64",
        (cell(0, [[0, 1], [2, 3], [4], [5], [6], [7]], 16, available_kib=9 * GIB + 300_000),),
        functions(wifi),
        (
            claim("minimal.mds1", "minimal", "mds1", frozenset(), {None: 2 * GIB}),
            claim("minimal.oss1", "minimal", "oss1", frozenset({4, 5}), {None: 2 * GIB}),
            claim("old", None, None, running=False),
        ),
        no_iommu="the kernel was booted without intel_iommu=on",
    )


def shown() -> HostInventory:
    """What `host show` sees: beds and others at work, a function of a guest in another cell, and one that is off."""
    host, _ = oss_host()
    return HostInventory(
        host.name, host.arch, host.cells, host.functions,
        (
            claim("ha.oss1", "ha", "oss1", frozenset({0, 2, 4}), {0: 4 * GIB}, {}, frozenset({pci("86:00.0")})),
            claim("nightly.oss1", "nightly", "oss1", frozenset({1, 3, 4}), {1: 4 * GIB}),
            claim(ODD, None, None, frozenset({9, 11}), {1: GIB}, {}, frozenset({pci("85:00.0")})),
            claim("retired", None, None, running=False, devices=frozenset({pci("05:00.0")})),
        ),
    )  # fmt: skip


def drawn(host: HostInventory, placement: Placement | None = None) -> str:
    return dot({host.name: host}, placement, bed="bed")


HOSTS = {
    "fta": fta(),
    "oss": oss_host(),
    "remote": oss_host(remote=True),
    "nps4": nps4(),
    "laptop": (laptop(), None),
    "shown": (shown(), None),
}


@pytest.mark.parametrize("name", ["fta", "remote", "shown"])
def test_golden_pictures(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / f"{name}.txt", pictures.said(drawn(*HOSTS[name])))


@needs_graphviz
@pytest.mark.parametrize("name", HOSTS)
def test_graphviz_takes_it(name: str) -> None:
    assert names(drawn(*HOSTS[name])) >= {"h0c0", "legend"}


def names(source: str) -> set[str]:
    """The nodes that Graphviz lays out, without a word of complaint."""
    done = subprocess.run(["dot", "-Tplain"], input=source, text=True, capture_output=True, check=True, timeout=60)
    assert not done.stderr
    return {line.split()[1] for line in done.stdout.splitlines() if line.startswith("node ")}


@needs_graphviz
@pytest.mark.parametrize("name", ["remote", "nps4"])
def test_cells_stand_in_order_and_equally_high(name: str) -> None:
    done = subprocess.run(
        ["dot", "-Tplain"], input=drawn(*HOSTS[name]), text=True, capture_output=True, check=True, timeout=60
    )
    cells = {}
    for line in done.stdout.splitlines():
        if line.startswith("node h0c"):
            _, node, *numbers = line.split()
            cells[int(node[3:])] = [float(number) for number in numbers[:4]]
    for row in (range(start, min(start + 4, len(cells))) for start in range(0, len(cells), 4)):
        assert [cells[n][0] for n in row] == sorted(cells[n][0] for n in row)
        assert all(cells[n][1] == cells[row[0]][1] for n in row)
        # Inches: what the rounding of points makes.
        assert all(cells[n][3] == pytest.approx(cells[row[0]][3], abs=0.05) for n in row)


def test_each_cpu_names_its_guest() -> None:
    host, placement = oss_host()
    text = drawn(host, placement)
    assert '>8</FONT><BR/><FONT POINT-SIZE="9"><B>oss1</B></FONT><FONT POINT-SIZE="8"> v4</FONT>' in text
    assert ">2 guests</FONT>" in drawn(shown())
    assert drawn(*fta()).count(">emulator</FONT>") == 1


def test_remote_functions_are_red_and_lead_to_the_cell_of_their_guest() -> None:
    text = drawn(*oss_host(remote=True))
    assert ' h0c0:cell -- h0c1:f2 [constraint=false, label=" oss1 "]' in text
    assert text.count(">remote</FONT>") == 1
    assert "(remote)" in text
    local = drawn(*oss_host())
    assert "remote" not in local
    assert "constraint=false" not in local


def test_virtual_functions_that_are_to_be_made() -> None:
    text = drawn(*fta())
    made = [f"VF {n}<" in text.partition('STYLE="dashed"')[2] for n in range(11)]
    assert all(f">VF {n}</FONT>" in text for n in range(11))
    assert made[8:] == [True] * 3
    assert "11 VFs of at most 16" in text


def test_virtual_functions_that_nobody_has_are_one_box() -> None:
    host, _ = fta()
    assert ">VF 0-7</FONT>" in drawn(host)


def test_the_placement_knows_better_than_the_claims_of_its_nodes() -> None:
    host, placement = oss_host()
    stale = replace(host, claims=(claim("bed.oss1", "bed", "oss1", frozenset({1})), claim("b2.oss1", "b2", "oss1")))
    text = drawn(stale, placement)
    assert text.count(">bed.oss1</FONT>") == 1
    assert ">b2.oss1</FONT>" in text


def test_the_host_needs_it() -> None:
    assert "the host: the default route" in drawn(laptop())
    broken = replace(shown(), functions=functions(hca("05:00.0", 0, broken="its reset failed")))
    assert "broken: its reset failed" in drawn(broken)


def test_functions_of_no_cell_have_a_place_of_their_own() -> None:
    lost = replace(shown(), functions=functions(hca("05:00.0", None)))
    assert "h0rest [" in drawn(lost)
    assert "h0rest [" not in drawn(replace(laptop(), functions=functions(hca("05:00.0", None))))


@needs_graphviz
def test_odd_hosts() -> None:
    threads = cell(0, [[0, 1], [2, 3]], 8).cpus
    two = Cell(0, 8 * GIB, (*threads, *cell(0, [[4, 5]], 8, socket=1).cpus))
    text = drawn(HostInventory("odd", "aarch64", (two, Cell(1, 16 * GIB, ()), Cell(7, 0, ()))))
    assert "socket 1" in text
    assert "no CPUs" in text
    assert "no memory" in text
    assert names(text) == {"h0c0", "h0c1", "h0c7", "legend"}
    other = replace(nps4(2)[0], name="second")
    both = dot({"a": laptop(), "b": other}, None)
    assert names(both) >= {"h0c0", "h1c0", "h1c1", "h1guests"}
    assert names(dot({}, None)) == {"legend"}


def named(text: str) -> HostInventory:
    host = shown()
    odd = hca("05:00.0", 0, product=text, used_by=text, broken=text, ports=(Port(1, "ethernet", text, state=text),))
    return replace(
        host,
        name=text,
        functions=host.functions | functions(odd),
        claims=(*host.claims, claim(text, text, text, frozenset({6}), devices=frozenset({pci("05:00.0")}))),
        no_iommu=text,
    )


@needs_graphviz
@pytest.mark.parametrize(
    "text", [ODD, '"]; n9 [label="x', "</B>>]; n9 <", "&amp; &#x0; \\N \\G", "a\\", "", " ", "\x00\x1b", "\u00e9\u4e2d"]
)
def test_graphviz_takes_any_name(text: str) -> None:
    assert names(drawn(named(text))) == {"h0c0", "h0c1", "h0guests", "legend"}


def test_names_stay_text() -> None:
    assert '&lt;b&gt;&amp;"x' in drawn(shown())
    assert ODD not in drawn(shown())


@given(st.text(max_size=60))
def test_any_name_stays_text(text: str) -> None:
    source = drawn(named(text))
    labelled = [line for line in source.splitlines() if " [label=" in line and not re.match(r"\s*\w+ -- ", line)]
    assert labelled[0].split()[0] == "graph"
    assert source.count(" [label=<") == drawn(named("x")).count(" [label=<")


@needs_graphviz
def test_draw(tmp_path: Path) -> None:
    host, placement = oss_host(remote=True)
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".dot", b"graph hosts {")):
        path = tmp_path / f"host{suffix}"
        draw({"x5670": host}, placement, path)
        assert path.read_bytes().startswith(start)
    with pytest.raises(HostError, match="Graphviz could not draw"):
        draw({"x5670": host}, placement, tmp_path / "absent" / "host.svg")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    for name in ("host.mmd", "host.pdf", "host", ".svg"):
        with pytest.raises(UsageError, match="no suffix of a picture"):
            draw({}, None, tmp_path / name)
