"""IOR's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmlab.errors import UsageError, WorkloadError
from vmlab.workloads import Endpoint, Measurement, Node, Output, Task
from vmlab.workloads.ior import Ior, Options

CASES = Path(__file__).parents[2] / "cases" / "ior"
IOR = Ior()
FACTS = """\
mpirun /usr/bin/mpirun
ior /usr/local/bin/ior
version mpirun (Open MPI) 4.1.4
memory 1048576
"""
MOUNTED = "8388608 /mnt/lustre\n"


def node(name: str, number: int, *roles: str, facts: str = FACTS, mounted: str = MOUNTED) -> Node:
    places = tuple(
        Endpoint(fabric, kind, IPv4Address(f"10.77.{place}.{number}"), fabric)
        for place, (fabric, kind) in enumerate((("mgmt", "management"), ("ib0", "infiniband")))
    )
    return Node(name, roles, places, {"ior": facts, "mounts": mounted})


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node], **options: object) -> list[Measurement]:
    return [m for r in IOR.measurements(Options.model_validate(options), bed) for m in r]


def command(measurement: Measurement) -> str:
    return shlex.join(measurement.tasks[-1].argv)


def test_all_clients_write_twice_their_memory() -> None:
    own, shared = measured(BED)
    assert command(own) == (
        "/usr/bin/mpirun --allow-run-as-root --mca btl_tcp_if_include mgmt --mca oob_tcp_if_include mgmt "
        "--host client1:1,client2:1 -np 2 /usr/local/bin/ior -a POSIX -F -w -r -C -Q 1 -e -g -i 1 "
        "-t 1048576 -b 2147483648 -o /mnt/lustre/vmlab-ior/data -O summaryFormat=JSON"
    )
    assert command(shared) == command(own).replace(" -F", "")
    assert [m.tasks[0].argv[-2:] for m in (own, shared)] == [
        ("/mnt/lustre/vmlab-ior", "1"),
        ("/mnt/lustre/vmlab-ior", "-1"),
    ]
    assert IOR.takes_part(Options(), BED) == ("client1", "client2")


def test_the_example_of_the_topology_page() -> None:
    # {ior: {nodes: "client1", tasks_per_node: 1, transfer_sizes: [10KB, 100KB, 1MB], block: 48GiB, ...}}
    large = [node("client1", 1, "client", mounted=MOUNTED.replace("8388608", str(100 << 20)))]
    written = {"nodes": "client1", "tasks_per_node": 1, "transfer_sizes": ["10KB", "100KB", "1MB"], "block": "48GiB"}
    found = measured(large, **written, file_per_process=True)
    assert [m.labels["size"] for m in found] == ["10000", "100000", "1000000"]
    for m in found:
        argv = m.tasks[-1].argv
        block = int(argv[argv.index("-b") + 1])
        assert block % int(m.labels["size"]) == 0
        assert 0 <= block - (48 << 30) < int(m.labels["size"])


def test_what_is_read_is_compared_on_request() -> None:
    assert " -w -r -W -R -C " in command(measured(BED, check=True)[0])
    assert " -w -W -C " in command(measured(BED, check=True, operations=["write"])[0])


def test_tasks_share_their_nodes_memory() -> None:
    argv = measured(BED, tasks_per_node=4)[0].tasks[-1].argv
    assert argv[argv.index("-b") + 1] == str(1 << 29)
    assert argv[argv.index("-np") + 1] == "8"
    assert argv[argv.index("-Q") + 1] == "4"
    assert "client1:4,client2:4" in argv


def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    full = [replace(n, facts={**n.facts, "mounts": MOUNTED.replace("8388608", "2097152")}) for n in BED]
    with pytest.raises(WorkloadError, match=r"4GiB do not fit into the 2048MiB") as caught:
        measured(full)
    assert "--set block=972MiB" in caught.value.hint
    assert measured(full, block="972MiB")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS.replace("ior /usr/local/bin/ior\n", ""), "client1 has no ior"),
        (FACTS.replace("mpirun /usr", "x /usr"), "client1 has no mpirun"),
        (FACTS.replace("(Open MPI) 4.1.4", ""), "expected Open MPI"),
        (FACTS.replace("memory 1048576\n", ""), "do not tell their memory"),
        ("", "client1 has no ior"),
    ],
)
def test_what_is_missing_is_named(facts: str, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        measured([node("client1", 1, "client", facts=facts)])


def test_nodes_and_directories_that_are_not_there() -> None:
    with pytest.raises(WorkloadError, match="no node has the role client or fta"):
        measured(BED[:1])
    with pytest.raises(UsageError, match="no node 'client9'"):
        measured(BED, nodes="client9")
    with pytest.raises(WorkloadError, match="'ib7'"):
        measured(BED, fabric="ib7")
    with pytest.raises(WorkloadError, match="mounted on all of its nodes"):
        measured([node("client1", 1, "client", mounted="")])
    other = node("client2", 2, "client", mounted=MOUNTED.replace("/mnt/lustre", "/mnt/other"))
    with pytest.raises(WorkloadError, match="mounted on all of its nodes"):
        measured([BED[1], other])
    assert "/mnt/lustre/deep/vmlab-ior" in command(measured(BED, directory="/mnt/lustre/deep/")[0])


@pytest.mark.parametrize("options", [{"block": "1KiB"}, {"transfer_sizes": ["8"]}, {"transfer_sizes": ["0KB"]}])
def test_wrong_options(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    first, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    task = Task(name="ior", node="client1", argv=tuple(shlex.split(first.removeprefix("$ "))), deadline_s=60)
    status = int(re.match(r"\d+", footer)[0])  # type: ignore[index]
    return Measurement(name="case", labels={"nodes": "n[13-14]"}, tasks=(task,)), Output(status, body, "", 10.0)


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-(ior|openmpi)-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    samples = IOR.parse(Options(), measurement, {"ior": output})
    rows = [{"metric": s.metric.name, "value": s.value, "operation": s.labels["operation"]} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
    assert IOR.sanity(Options(), measurement, {"ior": output}, samples) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match="IOR's report is cut off"):
        IOR.parse(Options(), measurement, {"ior": output})


SAID = {
    "block-no-multiple": "block size must be a multiple of transfer size",
    "host-unreachable": "mpirun cannot reach n15 by ssh: No route to host",
    "not-json": "read,15.9948,16.3463,0.0197,8192.0000,1024.0000,0.8421,0.9788,0.9505,1.0003,2,0",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    measurement, output = read(path)
    assert IOR.explain(output) == next(said for name, said in SAID.items() if name in path.name)
    with pytest.raises(WorkloadError, match="IOR printed no report"):
        IOR.parse(Options(), measurement, {"ior": output})


REPORT = '{"summary": [{"operation": "write", "bwMeanMIB": 10.0, "OPsMean": 5, "xsizeMiB": 16.0}]}'


def parsed(text: str, **options: object) -> dict[str, float]:
    chosen = Options.model_validate({"operations": ["write"]} | options)
    outputs = {"ior": Output(0, text, "", 1.0)}
    return {s.metric.name: s.value for s in IOR.parse(chosen, Measurement(name="m", labels={}), outputs)}


def test_warnings_may_stand_around_the_report() -> None:
    text = f"--------\nWARNING: There was an error initializing {{x}}\n{REPORT}\n[client1:812] 1 more process\n"
    assert parsed(text) == {"bandwidth": 10.0, "operations": 5.0}


def test_a_report_without_what_was_asked_for_is_none() -> None:
    with pytest.raises(WorkloadError, match="no figures of read"):
        parsed(REPORT, operations=["write", "read"])
    with pytest.raises(WorkloadError, match="bwMeanMIB is no number"):
        parsed(REPORT.replace("10.0", '"fast"'))


def test_sanity() -> None:
    argv = ("mpirun", "-np", "2", "ior", "-b", str(1 << 24))
    measurement = Measurement(name="m", labels={}, tasks=(Task(name="ior", node="a", argv=argv, deadline_s=1),))
    options = Options.model_validate({"operations": ["write"]})
    outputs = {"ior": Output(0, REPORT, "WARNING: data differs at 0\n", 1.0)}
    samples = IOR.parse(options, measurement, outputs)
    assert IOR.sanity(options, measurement, outputs, samples) == (
        "WARNING: data differs at 0",
        "only 16 of 32 MiB were moved by write",
    )


WHOLE = [path.read_text() for path in kind("good")]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 5000)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    outputs = {"ior": Output(0, text, "", 1.0)}
    measurement = Measurement(name="m", labels={})
    try:
        samples = IOR.parse(Options(), measurement, outputs)
    except WorkloadError:
        samples = ()
    for sample in samples:
        assert 0 <= sample.value < float("inf")
    IOR.sanity(Options(), measurement, outputs, samples)
