"""What a reader finds in the report of runs. All are simulated: series by formulas, in the shape of published ones."""

import csv
import io
import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import simulated_runs as simulated
from lxml import etree
from reading import Read

from vmlab.errors import UsageError
from vmlab.lab.measuring.resume import requested
from vmlab.lab.measuring.turns import Often
from vmlab.metrics import Sample
from vmlab.records.run import RunRecord, from_json, to_json
from vmlab.report.benchmark.choose import Drawn
from vmlab.report.benchmark.commands import repeated
from vmlab.report.benchmark.forms import as_csv, as_json, as_junit
from vmlab.report.benchmark.limits import limit
from vmlab.report.benchmark.load import load_chart
from vmlab.report.benchmark.page import Asked, drawn, drawn_together, page
from vmlab.report.benchmark.pictures import bed_picture, seats
from vmlab.report.benchmark.published import read_published
from vmlab.report.pages import html, markdown
from vmlab.report.plots.chart import Bars, HeatMap, Lines, Mixed
from vmlab.topology import load
from vmlab.values.rate import Rate
from vmlab.workloads import workloads
from vmlab.workloads._options import also_native, parse_set, points

TOPOLOGIES = Path(__file__).parents[3] / "topologies"
PUBLISHED = """
series:
  - {source: "Simulated Authors, 2011", name: bare metal, metric: bandwidth, unit: MB/s, x: size,
     labels: {verb: write}, points: {65536: 1048.576, 1048576: 2097.152}}
  - {source: "Simulated Authors, 2011", name: other, metric: message_rate, unit: msg/s, x: size, points: {1: 2}}
"""


def read(*records: RunRecord, asked: Asked | None = None, pictures: bool = False) -> Read:
    return Read(html.render(page(records, asked or Asked(), pictures=pictures)))


def lines(records: list[RunRecord], metric: object, asked: Asked | None = None) -> dict[str, Drawn]:
    return {one.chart.title: one for one in drawn(records, metric, asked or Asked())}  # type: ignore[arg-type]


def test_the_table_says_what_the_guests_reach_of_the_host() -> None:
    rows = read(simulated.rdma_table()).tables["Guests beside the host: bandwidth"]
    assert [row["from"] for row in rows] == ["vm01", "vm02", "vm03", "vm04"]
    assert {row["guests in % of host"] for row in rows} == {"99 %"}
    assert {row["difference"] for row in rows} == {"less than the spread"}
    assert (rows[0]["guests"], rows[0]["host"], rows[0]["unit"]) == ("2,970", "3,000", "MiB/s")


def test_it_says_in_a_line_what_the_guests_reach() -> None:
    text = read(simulated.rdma_curves()).text
    assert "Bandwidth in guests: 99 % of the host's in the median of 46 figures" in text
    assert (
        "Latency in guests: 104 % of the host's in the median of 46 figures, from 104 % to 104 %. Less is better."
        in text
    )


def test_curves_over_size_with_native_dashed_and_latency_logarithmic() -> None:
    record = simulated.rdma_curves()
    bandwidth, latency = (lines([record], metric) for metric in (simulated.BANDWIDTH, simulated.LATENCY))
    chart = bandwidth["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert (chart.x.scale, chart.x.form, chart.y.scale) == ("log2", "size", "linear")
    assert [(line.name, line.kind, line.colour) for line in chart.lines] == [
        ("write", "ours", 0),
        ("", "native", 0),
        ("read", "ours", 1),
        ("", "native", 1),
    ]
    assert all(len(line.points) == len(simulated.SIZES) for line in chart.lines)
    assert chart.limit is not None
    assert chart.limit.value == pytest.approx(40e9 / 8 / 2**20)
    late = latency["latency"].chart
    assert isinstance(late, Lines)
    assert late.y.scale == "log10"
    assert late.limit is None


def test_scaling_over_nodes_says_where_it_ends_and_what_it_is_of_native() -> None:
    found = read(simulated.transfer_nodes(most=11, knee=10), pictures=True)
    rows = {row["curve"]: row for row in found.tables["Scaling"]}
    assert len(rows) == 6
    row = rows["bandwidth: 1MiB, write"]
    assert row["gain below the spread after"] == "10 nodes"
    assert row["gain for each one more"] == "110 MiB/s"
    assert row["most"] == "1,100 MiB/s"
    assert row["most in % of native"] == "450 %"
    words = found.figures["bandwidth"]
    assert "number of nodes" in words
    assert "100KiB, read" in words
    assert "the same on the host" in words
    assert "bandwidth: write, over nodes and size" in found.figures
    chart = lines([simulated.transfer_nodes()], simulated.BANDWIDTH)["bandwidth: write, over nodes and size"].chart
    assert isinstance(chart, HeatMap)
    assert (chart.columns[0], chart.columns[-1], chart.rows) == ("1", "11", ["10KiB", "100KiB", "1MiB"])
    assert chart.cells[2][10] == pytest.approx(1100)


def test_a_chart_for_each_number_of_servers_with_the_networks_limit() -> None:
    records = [simulated.burst_buffer(servers, number) for number, servers in enumerate((1, 2, 4), 1)]
    charts = lines(records, simulated.BANDWIDTH)
    assert list(charts) == ["bandwidth: bed dac1", "bandwidth: bed dac2", "bandwidth: bed dac4"]
    for servers, one in zip((1, 2, 4), charts.values(), strict=True):
        assert isinstance(one.chart, Lines)
        assert [line.name for line in one.chart.lines] == ["write", "read"]
        assert one.chart.x.scale == "log2"
        assert [p.x for p in one.chart.lines[0].points] == [1 << power for power in range(10)]
        assert one.chart.limit is not None
        assert one.chart.limit.value == pytest.approx(servers * 25e9 / 2**20)
        assert f"{2 * servers} ports \N{MULTIPLICATION SIGN} 100 Gbit/s" in one.chart.limit.name
    rows = read(*records).tables["Scaling"]
    assert rows[0]["most in % of the limit"] == "94.3 %"
    iops = lines(records, simulated.IOPS)["iops"].chart
    assert isinstance(iops, Lines)
    assert iops.limit is None
    assert iops.lines[-1].name == "bed dac4, random_read"


def test_two_metrics_over_one_x_that_never_meet_are_one_chart_with_its_data() -> None:
    records = [simulated.burst_buffer(servers, number) for number, servers in enumerate((1, 2, 4), 1)]
    charts = drawn_together(records, simulated.BANDWIDTH, simulated.IOPS, Asked())
    assert [one.chart.title for one in charts] == [f"bandwidth and iops: bed dac{n}" for n in (1, 2, 4)]
    for servers, one in zip((1, 2, 4), charts, strict=True):
        assert isinstance(one.chart, Mixed)
        sequential, random = one.chart.lines, one.chart.columns
        assert [line.name for line in sequential.lines] == ["write, 1MiB [MiB/s]", "read, 1MiB [MiB/s]"]
        assert [line.name for line in random.lines] == ["random_write, 4KiB [IOPS]", "random_read, 4KiB [IOPS]"]
        assert len({line.colour for line in (*sequential.lines, *random.lines)}) == 4
        assert sequential.limit is not None
        assert sequential.limit.value == pytest.approx(servers * 25e9 / 2**20)
        assert random.limit is None
        assert random.lines[1].points[-1].y == pytest.approx(servers * 470_000 * 512 / 524)
    found = read(*records, pictures=True)
    assert [title for title in found.figures if "bandwidth" in title or "iops" in title] == [
        c.chart.title for c in charts
    ]
    rows = found.tables["Data: bandwidth and iops: bed dac1"]
    assert [row["tasks"] for row in rows] == [str(1 << power) for power in range(10)]
    assert rows[7] == {
        "tasks": "128",
        "bandwidth, write, 1MiB [MiB/s]": "21,029",
        "bandwidth, read, 1MiB [MiB/s]": "20,480",
        "iops, random_write, 4KiB [IOPS]": "310,857",
        "iops, random_read, 4KiB [IOPS]": "429,714",
    }
    assert "Data: bandwidth and iops: bed dac1" in read(*records).tables, "in text, too, where nothing is drawn"


@pytest.mark.parametrize(
    "record",
    [
        simulated.converged(),  # each figure has both
        simulated.rdma_curves(),  # of the one less is better
        *simulated.cloud_pairs()[:1],  # no x
        replace(  # not over the same x
            simulated.burst_buffer(1, 1),
            samples=tuple(
                s for s in simulated.burst_buffer(1, 1).samples if s.metric.name == "iops" or s.labels["tasks"] != "1"
            ),
        ),
    ],
    ids=["meet", "directions", "bars", "other x"],
)
def test_others_have_charts_of_their_own(record: RunRecord) -> None:
    other = simulated.IOPS if any(s.metric == simulated.IOPS for s in record.samples) else simulated.LATENCY
    assert drawn_together([record], simulated.BANDWIDTH, other, Asked()) == ()
    assert not any(caption.startswith("Data: ") for caption in read(record).tables)


def test_what_others_published_is_in_a_chart_of_two_metrics_beside_ours() -> None:
    text = """series:
  - {source: S, name: them, metric: bandwidth, unit: GB/s, x: tasks, labels: {operation: write}, points: {128: 23.9}}
  - {source: S, name: them, metric: iops, unit: IOPS, x: tasks, labels: {operation: random_read}, points: {128: 478000}}
"""
    (one,) = drawn_together(
        [simulated.burst_buffer(1, 1)],
        simulated.BANDWIDTH,
        simulated.IOPS,
        Asked(published=read_published(text, "f")),
    )
    assert isinstance(one.chart, Mixed)
    for part, value in ((one.chart.lines, 23.9e9 / 2**20), (one.chart.columns, 478_000)):
        assert part.lines[-1].kind == "published"
        assert part.lines[-1].name.startswith("published: them (S)")
        assert [(point.x, point.y) for point in part.lines[-1].points] == [(128, pytest.approx(value))]


def test_guests_beside_bare_machines() -> None:
    found = read(simulated.selftest())
    rows = found.tables["Guests beside bare machines: bandwidth"]
    assert [
        (row["test"], row["guests"], row["bare machines"], row["guests in % of bare machines"]) for row in rows
    ] == [
        ("read", "11,760", "11,880", "99 %"),
        ("write", "11,760", "11,880", "99 %"),
    ]
    chart = lines([simulated.selftest()], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Bars)
    assert [(bar.name, bar.kind) for bar in chart.groups[0][1]] == [
        ("on bare machines and in guests", "ours"),
        ("in guests", "ours"),
        ("on bare machines", "bare"),
    ]
    assert len({(bar.kind, bar.colour) for bar in chart.groups[0][1]}) == 3
    uneven = read(simulated.selftest(4, 2))
    assert uneven.tables["Guests beside bare machines: bandwidth"][0]["guests"] == "11,760 a"
    assert "a 4 guests beside 2 bare machines" in uneven.text


def test_two_servers_each_alone_and_both_together() -> None:
    rows = read(simulated.survey()).tables["Bandwidth by nodes"]
    assert rows == [
        {"nodes": nodes, "write [MiB/s]": write, "rewrite [MiB/s]": again, "read [MiB/s]": back}
        for nodes, write, again, back in (
            ("vm01", "2,480", "2,500", "2,575"),
            ("vm02", "2,480", "2,500", "2,575"),
            ("vm[01-02]", "4,836", "4,875", "5,021"),
        )
    ]
    chart = lines([simulated.survey()], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Bars)
    assert len(chart.groups) == 9


def test_sets_of_as_many_nodes_are_no_number() -> None:
    charts = lines([simulated.survey_of_threads()], simulated.BANDWIDTH)
    assert list(charts) == [f"bandwidth: nodes {nodes}" for nodes in ("vm01", "vm02", "vm[01-02]")]
    for one in charts.values():
        assert isinstance(one.chart, Lines)
        assert (one.x, [line.name for line in one.chart.lines]) == ("threads", ["write", "rewrite", "read"])


def test_virtual_beside_physical_servers() -> None:
    rows = read(*simulated.seven_clients()).tables["Bandwidth by bed"]
    assert rows == [
        {"bed": "virtual", "write [MiB/s]": "4,770", "read [MiB/s]": "5,150"},
        {"bed": "physical", "write [MiB/s]": "4,770", "read [MiB/s]": "5,150"},
        {"bed": "four-servers", "write [MiB/s]": "9,445", "read [MiB/s]": "10,197"},
    ]


def test_a_line_for_each_block_size_over_the_clients() -> None:
    charts = lines([simulated.converged()], simulated.IOPS)
    assert {"iops: read", "iops: write"} <= set(charts)
    chart = charts["iops: read"].chart
    assert isinstance(chart, Lines)
    assert [line.name for line in chart.lines] == ["4KiB", "8KiB", "64KiB", "1MiB"]
    assert chart.lines[0].points[-1].x == 24
    assert chart.lines[0].points[-1].y == pytest.approx(24e6)


def test_shapes_in_a_table_and_as_bars() -> None:
    records = simulated.cloud_pairs()
    rows = read(*records).tables["latency (0B)"]
    assert [(row["bed"], row["median"], row["unit"]) for row in rows] == [
        ("shape-a", "41", "us"),
        ("shape-b", "37.1", "us"),
        ("shape-c", "32.4", "us"),
        ("shape-d", "2.63", "us"),
    ]
    assert read(*records).tables["Latency, bandwidth by bed"] == [
        {"bed": "shape-a", "latency, 0B [us]": "41", "bandwidth, 1MiB [MiB/s]": "1,026"},
        {"bed": "shape-b", "latency, 0B [us]": "37.1", "bandwidth, 1MiB [MiB/s]": "1,121"},
        {"bed": "shape-c", "latency, 0B [us]": "32.4", "bandwidth, 1MiB [MiB/s]": "1,098"},
        {"bed": "shape-d", "latency, 0B [us]": "2.63", "bandwidth, 1MiB [MiB/s]": "10,306"},
    ]
    chart = lines(list(records), simulated.LATENCY)["latency"].chart
    assert isinstance(chart, Bars)
    assert [name for name, _ in chart.groups] == [f"bed shape-{letter}" for letter in "abcd"]


def test_pinned_beside_floating() -> None:
    found = read(*simulated.pinned_and_floating())
    rows = found.tables["Pinned beside floating virtual CPUs: bandwidth"]
    assert {row["pinned in % of floating"] for row in rows} == {"125 %"}
    assert rows[-1]["size"] == "8MiB"
    chart = lines(list(simulated.pinned_and_floating()), simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert [line.name for line in chart.lines] == ["pinned", "floating"]


def test_two_runs_of_the_same_are_told_apart_by_their_ids() -> None:
    first, second = simulated.pinned_and_floating()
    same = replace(second, nodes=first.nodes)
    chart = lines([first, same], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert [line.name for line in chart.lines] == [first.id, same.id]


def test_what_means_nothing_is_marked_at_the_number_with_its_reason() -> None:
    found = read(simulated.doubtful())
    rows = found.tables["bandwidth (from client1)"]
    assert {row["median"] for row in rows[:1]} == {"100 a b c d"}
    for reason in (
        "a emulated, without KVM (tcg): says nothing about the hardware",
        "b 25 % of the memory of client1 lay in another NUMA cell than its CPUs",
        "c over soft-RoCE: says nothing about the hardware",
        "d the trials differ by more than 20 % of their median",
    ):
        assert reason in found.text
    assert any("without KVM" in notice for notice in found.notices)
    assert any(notice.startswith("Failure problem: bandwidth of 2B is 0") for notice in found.notices)
    assert any("read: the device has no such verb" in notice for notice in found.notices)
    chart = lines([simulated.doubtful()], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert all(point.doubtful for point in chart.lines[0].points)


def test_marks_are_only_where_they_belong() -> None:
    figures = [
        (simulated.BANDWIDTH, {"from": name, "on": on}, 100.0) for name in ("client1", "oss1") for on in ("vm", "host")
    ]
    nodes = (simulated.node("client1", (2,)), simulated.node("oss1", (3,)))
    hosts = (simulated.host(nodes, remote_memory={"client1": 0.5, "oss1": 0.0}),)
    rows = read(simulated.run(simulated.trials(figures), nodes=nodes, hosts=hosts)).tables["bandwidth"]
    marks = {(row["from"], row["where"]): row["median"] for row in rows}
    assert marks == {
        ("client1", "in guests"): "100 a",
        ("client1", "on the host"): "100",
        ("oss1", "in guests"): "100",
        ("oss1", "on the host"): "100",
    }


def test_a_single_figure_is_a_number_and_no_plot() -> None:
    found = read(simulated.one_point(), pictures=True)
    assert found.tables["bandwidth (from client1, to oss1)"] == [{"figure": "1,234", "unit": "MiB/s"}]
    assert list(found.figures) == ["Nodes on the 24 CPUs of simulated-host"]
    assert "Note One trial: by how much the figures vary is not known." in found.notices


def test_a_run_without_figures_has_a_page() -> None:
    found = read(simulated.run((), faults=("pair: the server did not start",), nodes=(), hosts=()))
    assert "Nothing was measured." in found.text
    assert any("the server did not start" in notice for notice in found.notices)


def test_what_others_published_is_beside_and_never_ours() -> None:
    asked = Asked(published=read_published(PUBLISHED, "them.yaml"))
    record = simulated.rdma_curves()
    chart = lines([record], simulated.BANDWIDTH, asked)["bandwidth"].chart
    assert isinstance(chart, Lines)
    (others,) = [line for line in chart.lines if line.kind == "published"]
    assert others.name == "published: bare metal (Simulated Authors, 2011)"
    assert [(p.x, round(p.y)) for p in others.points] == [(65536, 1000), (1048576, 2000)]
    found = read(record, asked=asked)
    rows = found.tables["Published by others, not measured here"]
    assert [(row["at"], row["figure"], row["unit"], row["source"]) for row in rows] == [
        ("size 64KiB", "1,049", "MB/s", "Simulated Authors, 2011"),
        ("size 1MiB", "2,097", "MB/s", "Simulated Authors, 2011"),
    ]
    assert "1,049" not in as_csv([record])
    assert all(
        "1,049" not in row.values()
        for caption, some in found.tables.items()
        if "Published" not in caption
        for row in some
    )


def test_a_published_number_stands_among_the_bars() -> None:
    text = "series: [{source: S, name: them, metric: latency, unit: ms, value: 0.04}]"
    chart = lines(list(simulated.cloud_pairs()), simulated.LATENCY, Asked(published=read_published(text, "f")))[
        "latency"
    ]
    assert isinstance(chart.chart, Bars)
    name, (bar,) = chart.chart.groups[-1]
    assert (name, bar.kind, bar.at.y) == ("published: them (S)", "published", pytest.approx(40))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("series: []", "f lists no series"),
        ("[", "f is no YAML"),
        ("series: [{name: a, metric: m, unit: u, value: 1}]", "f: series 1: source: Field required"),
        (
            "series: [{source: s, name: a, metric: m, unit: u}]",
            "f: series 1: has neither a value, nor an x with points",
        ),
        ("series: [{source: s, name: a, metric: m, unit: u, points: {1: 2}}]", "f: series 1: has neither"),
        ("series: [{source: s, name: a, metric: m, unit: u, x: n, points: {1: two}}]", "f: series 1: points.1: "),
    ],
)
def test_a_wrong_file_of_published_figures_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_published(text, "f")
    assert refused.value.message.startswith(complaint)


@pytest.mark.parametrize(
    ("text", "rate"), [("25GB/s", 25e9), ("1.5GiB/s", 1.5 * 2**30), ("100Gbit/s", 12.5e9), ("10 MB/s", 1e7)]
)
def test_a_limit(text: str, rate: float) -> None:
    assert Rate.parse(text) == rate
    chart = lines([simulated.transfer_nodes()], simulated.BANDWIDTH, Asked(limit=Rate(2e9)))["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert chart.limit is not None
    assert chart.limit.name == "limit: 2GB/s, as given"


@pytest.mark.parametrize("text", ["", "25", "GB/s", "0GB/s", "25GB", "-1GB/s", "25 GB/h"])
def test_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"ib0": 3.5e9}, "limit: 3.5GB/s of ib0, as the topology says"),
        ({"ib0": 3.5e9, "ib1": 7e9}, None),  # over which of them the figures went nobody knows
        ({}, None),
    ],
)
def test_a_limit_of_the_topology(written: dict[str, float], name: str | None) -> None:
    record = replace(simulated.transfer_nodes(), topology={"limit": written})
    chart = lines([record], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert (chart.limit and chart.limit.name) == name


def test_a_limit_of_the_fabric_of_the_figures() -> None:
    record = simulated.transfer_nodes()
    over = tuple(replace(sample, labels={**sample.labels, "fabric": "ib1"}) for sample in record.samples)
    found = limit(replace(record, samples=over, topology={"limit": {"ib0": 1e9, "ib1": 2e9}}), "MiB/s", None, {"ib1"})
    assert found is not None
    assert found.name.startswith("limit: 2GB/s of ib1")


def test_what_the_hosts_record_says_counts_before_the_topology() -> None:
    record = replace(simulated.burst_buffer(1, 1), topology={"limit": {"ib0": 1e9}})
    found = limit(record, "MiB/s", None)
    assert found is not None
    assert "of simulated-dac1" in found.name


def test_where_no_limit_is_known_there_is_none() -> None:
    chart = lines([simulated.transfer_nodes()], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert chart.limit is None
    soft = replace(simulated.rdma_curves(), soft=True)
    chart = lines([soft], simulated.BANDWIDTH)["bandwidth"].chart
    assert isinstance(chart, Lines)
    assert chart.limit is None


def test_what_was_counted_during_the_run_is_under_its_curves() -> None:
    record = replace(simulated.rdma_curves(), commands=(simulated.command("2026-08-01T02:00:10+00:00", 20),))
    chart = load_chart(record, simulated.load() + "1785549700.00,client1,1.0")
    assert chart is not None
    assert [panel.y.label for panel in chart.panels] == [
        "CPUs in use",
        "network, both ways [MiB/s]",
        "disks, read and written [MiB/s]",
    ]
    assert [line.name for line in chart.panels[0].lines] == ["client1", "oss1"]
    assert [(round(a), round(b)) for a, b in chart.spans] == [(10, 30)]
    network = chart.panels[1].lines[1].points
    assert network[17].y == pytest.approx(240, rel=0.01)
    found = read(record, asked=Asked(loads={record.id: simulated.load()}), pictures=True)
    names = list(found.figures)
    assert names.index(f"During the run {record.id}") == names.index("latency") + 1


def test_of_many_nodes_their_sum_is_drawn() -> None:
    chart = load_chart(simulated.one_point(), simulated.load([f"n{n}" for n in range(20)], 5))
    assert chart is not None
    assert [line.name for line in chart.panels[0].lines] == ["all 20 nodes"]
    assert load_chart(simulated.one_point(), "time,node\n") is None


def test_what_ran_where() -> None:
    found = read(simulated.with_topology(simulated.one_point(), load(TOPOLOGIES / "ha-topology.yaml")), pictures=True)
    assert found.tables["Nodes of simulated"][0] == {
        "node": "client1",
        "roles": "client",
        "where": "guest",
        "host": "simulated-host",
        "virtual CPUs": "2 pinned to 2-3",
        "image": "demo",
    }
    assert found.tables["Hosts of simulated"][0]["hypervisor"] == "QEMU 7.2.0"
    assert "client1 pinned to 2-3" in found.figures["Nodes on the 24 CPUs of simulated-host"]
    assert "OST0000" in found.figures["The bed simulated"]


def test_two_cells_with_pinned_and_floating_nodes_are_drawn_from_the_record_alone() -> None:
    record = from_json(json.loads(json.dumps(to_json(simulated.two_cells()))))
    assert record == simulated.two_cells()
    found = read(record, pictures=True)
    words = found.figures["Nodes on the 48 CPUs of kvm1"]
    for told in (
        "cell 0",
        "cell 1",
        "mds1 pinned to 2-3,26-27",
        "oss1 pinned to 14-17,38-41",
        "client1 floats over 12-13,18-23,36-37,42-47, 30 % of its",
    ):
        assert told in words
    assert found.tables["Nodes of cells"][0]["devices"] == "ib0 mlx5_0/1"
    assert "Note No picture of cells: the topology's file was not at hand during the run." in found.notices


def test_cells_that_do_not_hold_all_nodes_are_not_drawn() -> None:
    record = simulated.two_cells()
    (host,) = record.hosts
    for cells in ({"0": (0, 1)}, {"0": (0, 1), "1": (2, 3)}):
        (chart,) = seats(replace(record, hosts=(replace(host, cells=cells),)))
        assert (chart.count, chart.cells) == (48, ())


@pytest.mark.parametrize("file", sorted(path.name for path in TOPOLOGIES.glob("*.yaml")))
def test_each_beds_picture_can_be_drawn_from_its_record(file: str) -> None:
    record = simulated.with_topology(simulated.one_point(), load(TOPOLOGIES / file))
    assert "<svg" in bed_picture(from_json(json.loads(json.dumps(to_json(record)))), "p1")


def test_without_graphviz_the_beds_picture_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = simulated.with_topology(simulated.one_point(), load(TOPOLOGIES / "ha-topology.yaml"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read(record, pictures=True)
    assert any(notice.startswith("Note The bed's picture is left out: ") for notice in found.notices)
    assert "The bed simulated" not in found.figures


def test_a_topology_of_another_vmlab_costs_the_picture_alone() -> None:
    found = read(replace(simulated.one_point(), topology={"name": "ha", "nodes": []}), pictures=True)
    assert any("The bed's picture is left out: the record's topology cannot be read" in line for line in found.notices)


def test_versions_name_who_has_which() -> None:
    nodes = [simulated.node(f"oss{n}", (n,), "oss", tools={"fio": "3.33" if n < 3 else "3.36"}) for n in range(1, 4)]
    text = read(simulated.run((), nodes=nodes)).text
    assert "fio 3.33 (oss[1-2]); 3.36 (oss3)" in text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("rdma", {"verbs": ["write", "read"], "iterations": 500}),
        ("ior", {"block": ["64MiB", "1GiB"], "operations": ["write"], "nodes": "1..3", "file_per_process": True}),
        ("fio", {"cases": [{"block": "4KiB", "jobs": 64}, {"block": "1MiB", "jobs": 8}], "rw": "randread"}),
        ("command", {"run": "echo 'a b' [ ] $HOME; true"}),
    ],
)
def test_the_command_measures_the_same_again(name: str, written: dict[str, object]) -> None:
    kind = workloads()[name]
    original = also_native(points(kind, written), asked=False)
    record = simulated.run((), **requested("ha", name, original, Often(3, 1, fresh=True)))
    (line,) = repeated(record)
    words = shlex.split(line)
    assert words[:4] == ["vmlab", "run", "ha", name]
    settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    again = points(kind, parse_set(kind, settings))
    assert [one.options for one in again] == [one.options for one in original]
    assert [word for word in words if word[:2] == "--" and word != "--set"] == ["--trials", "--warm-up", "--fresh"]


def test_the_repeated_run_begins_with_its_bed() -> None:
    record = replace(
        simulated.one_point(), topology={"file": "/somewhere/my bed.yaml"}, options={"native": {"mount": "/mnt"}}
    )
    assert repeated(record) == ("vmlab up 'my bed.yaml'", "vmlab run simulated simulation --set 'native={mount: /mnt}'")


def test_a_bed_of_a_sweep_is_repeated_in_its_shape() -> None:
    record = replace(
        simulated.one_point(), topology={"file": "/a/pair.yaml"}, options={}, shape={"nodes.*.numa": "{cells: 2}"}
    )
    up, _ = repeated(record)
    assert shlex.split(up) == ["vmlab", "up", "pair.yaml", "--set", "nodes.*.numa={cells: 2}"]


def test_the_shapes_of_a_bed_are_one_curve() -> None:
    def shape(cpus: int, *figures: float) -> RunRecord:
        labels = {"nodes.pair.cpus": str(cpus)}
        samples = [Sample(simulated.BANDWIDTH, figure, labels) for figure in figures]
        why = () if figures else (f"nodes.pair.cpus={cpus}: it does not fit",)
        return replace(simulated.run(samples), id=f"r{cpus}", shape=labels, series="s", skipped=why)

    records = [shape(1, 100), shape(2, 200), shape(4, 390), shape(8)]
    (one,) = lines(records, simulated.BANDWIDTH).values()
    assert one.x == "nodes.pair.cpus"
    assert isinstance(one.chart, Lines)
    assert [(p.x, p.y) for p in one.chart.lines[0].points] == [(1, 100), (2, 200), (4, 390)]
    assert "Not measured: nodes.pair.cpus=8: it does not fit (r8)" in read(*records).text


def test_csv_has_a_column_for_each_label() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([simulated.doubtful(), simulated.one_point()]))))
    assert len(rows) == len(simulated.SIZES) + 1
    assert rows[0]["size"] == "2"
    assert "soft-RoCE" in rows[0]["doubts"]
    assert (float(rows[-1]["median"]), rows[-1]["to"], rows[-1]["doubts"]) == (1234, "oss1", "")


def test_json_has_the_runs_and_what_is_beside() -> None:
    content = json.loads(as_json([simulated.rdma_table()]))
    assert content["runs"][0]["schema"] == 1
    assert [round(one["percent"]) for one in content["beside_host"]] == [99] * 4
    assert len(content["figures"]) == 8


def test_junit_says_failed_where_it_failed() -> None:
    commands = tuple(simulated.command("2026-08-01T02:00:00+00:00", 2, name) for name in ("pair", "pair", "other"))
    record = replace(
        simulated.doubtful(), commands=commands, problems=("pair: bandwidth is 0", "too slow"), faults=("other: gone",)
    )
    suites = etree.fromstring(as_junit([record]).encode())
    (suite,) = suites
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["pair"].find("failure").get("message") == "pair: bandwidth is 0"
    assert cases["pair"].get("time") == "4.000"
    assert cases["other"].find("error").get("message") == "other: gone"
    assert cases["the run"].find("failure").get("message") == "too slow"
    assert cases["read"].find("skipped") is not None
    assert "bandwidth size=2 from=client1: 100 MiB/s (emulated" in suite.findtext("system-out")


def test_what_references_say_is_in_the_page_and_in_junit() -> None:
    found = read(simulated.judged())
    rows = found.tables["Judged by references"]
    assert [(row["verdict"], row["labels"], row["figure"], row["by"]) for row in rows] == [
        ("missed", "operation=read", "80", "refs.yaml:4"),
        ("no figure", "operation=append", "-", "refs.yaml:6"),
        ("better", "operation=rewrite", "130", "refs.yaml:5"),
        ("ok", "operation=write", "95", "refs.yaml:3"),
    ]
    assert (rows[0]["lower"], rows[0]["reference"], rows[0]["upper"], rows[0]["unit"]) == ("90", "100", "110", "MiB/s")
    told = [notice for notice in found.notices if "reference" in notice]
    assert [notice.split(":")[0] for notice in told] == [
        "Failure missed its reference",
        "Failure not measured, though there is a reference",
        "Note better than its reference, which is old",
    ]
    (suite,) = etree.fromstring(as_junit([simulated.judged()]).encode())
    numbers = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert numbers == {"tests": "6", "failures": "1", "errors": "1", "skipped": "1"}
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failed = cases["bandwidth operation=read"].find("failure")
    assert failed.get("message") == "bandwidth operation=read: simulated missed: refs.yaml:4"
    assert len(cases["bandwidth operation=write"]) == 0


def test_references_of_other_hosts_alone_judged_nothing() -> None:
    record = simulated.judged()
    elsewhere = replace(record, verdicts=tuple(one for one in record.verdicts if one.verdict == "other host"))
    found = read(elsewhere)
    assert "Warning All references are for other hosts: nothing was judged." in found.notices
    assert "Judged by references" not in found.tables


def test_junit_of_a_good_run_has_a_case() -> None:
    (suite,) = etree.fromstring(as_junit([simulated.one_point()]).encode())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "0")


def test_markdown_has_the_tables() -> None:
    text = markdown.render(page([simulated.rdma_table()], Asked(), pictures=False))
    assert "| vm01 | 2,970 | 3,000 | MiB/s | **99 %** | less than the spread |" in text
    assert "<svg" not in text
