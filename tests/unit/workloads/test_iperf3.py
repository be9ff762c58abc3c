"""Who sends to whom, and recorded iperf3 output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

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

from vmlab.errors import UsageError, WorkloadError
from vmlab.workloads import Endpoint, Measurement, Node, Output, Task
from vmlab.workloads.iperf3 import Iperf3, Options

CASES = Path(__file__).parents[2] / "cases" / "iperf3"
IPERF3 = Iperf3()


def node(
    name: str, number: int, *roles: str, fabrics: tuple[str, ...] = ("mgmt", "eth0"), version: str = "3.12"
) -> Node:
    places = tuple(
        Endpoint(fabric, "management" if fabric == "mgmt" else "ethernet", IPv4Address(f"10.77.{i}.{number}"), fabric)
        for i, fabric in enumerate(fabrics)
    )
    facts = {"tools": "iperf3\n", "version": f"iperf {version} (cJSON 1.7.15)\nLinux\n"} if version else {}
    return Node(name, roles, places, facts)


BED = [node("client1", 1, "client"), node("mds1", 2, "mds"), node("oss1", 3, "oss"), node("client2", 4, "client")]


def measured(bed: list[Node] = BED, **options: object) -> list[Measurement]:
    chosen = Options.model_validate(options)
    found = [m for r in IPERF3.measurements(chosen, bed) for m in r]
    taking_part = {name for m in found for name in (m.labels["from"], m.labels["to"])}
    assert taking_part == set(IPERF3.takes_part(chosen, bed))
    return found


def command(measurement: Measurement) -> str:
    return shlex.join(next(task.argv for task in measurement.commands if task.name == "client"))


def test_by_default_each_server_sends_to_the_first_client_and_then_both_send() -> None:
    found = measured()
    assert [m.name for m in found] == [
        f"{server}-client1.{way}.{streams}"
        for server in ("mds1", "oss1")
        for streams in (1, 8)
        for way in ("out", "both")
    ]
    assert command(found[0]) == "iperf3 -J -c 10.77.1.1 -p 5201 -t 10 -P 1"
    assert command(found[3]) == "iperf3 -J -c 10.77.1.1 -p 5201 -t 10 -P 8 --bidir"
    [server] = found[0].services
    assert (server.node, shlex.join(server.argv)) == ("client1", "iperf3 -s -1 -B 10.77.1.1 -p 5201")
    assert ":1451 0+:0000 0A" in server.ready
    assert {m.labels["ways"] for m in found} == {"one", "both at once"}


def test_back_and_a_slow_start_that_does_not_count() -> None:
    [found] = measured(ways=["back"], streams=[4], omit_s=2, **{"from": "client2", "to": "client1"})
    assert command(found) == "iperf3 -J -c 10.77.1.1 -p 5201 -t 10 -P 4 -O 2 -R"
    assert found.tasks[0].deadline_s == 72  # type: ignore[union-attr]


def test_an_iperf3_without_bidir_measures_one_way_after_the_other_and_says_so() -> None:
    old = [BED[0], node("oss1", 3, "oss", version="3.1.3")]
    found = measured(old, ways=["both"], streams=[1])
    assert [m.name for m in found] == ["oss1-client1.out.1.after", "oss1-client1.back.1.after"]
    assert [command(m).rpartition(" -P 1")[2] for m in found] == ["", " -R"]
    for one in found:
        assert one.labels["ways"] == "one after the other"
        [note] = IPERF3.notes(Options(), one, {})
        assert "before 3.7" in note
    assert all(IPERF3.notes(Options(), one, {}) == () for one in measured())


def test_the_pairs_of_a_round_have_ports_of_their_own() -> None:
    rounds = IPERF3.measurements(Options.model_validate({"parallel": True}), BED)
    assert next([m.name for m in r] for r in rounds) == ["mds1-client1.out.1", "oss1-client1.out.1"]
    for r in rounds:
        assert len({command(m).split()[5] for m in r}) == len(r) == 2


def test_the_management_network_is_measured_where_there_is_no_other_or_it_is_asked_for() -> None:
    alone = [node("a", 1, fabrics=("mgmt",)), node("b", 2, fabrics=("mgmt",))]
    assert {m.labels["fabric"] for m in measured(alone)} == {"mgmt"}
    assert {m.labels["fabric"] for m in measured()} == {"eth0"}
    assert {m.labels["fabric"] for m in measured(fabric="mgmt")} == {"mgmt"}


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(UsageError, match="no node 'oss9'"):
        measured(to="oss9")
    with pytest.raises(UsageError, match=r"no fabric 'eth9' \(did you mean `eth0`"):
        measured(fabric="eth9")
    with pytest.raises(WorkloadError, match="oss1 has no iperf3") as caught:
        measured([BED[0], node("oss1", 3, "oss", version="")])
    assert "install" in caught.value.hint
    far = node("far", 9, "oss", fabrics=("mgmt", "eth1"))
    with pytest.raises(WorkloadError, match="far and client1 are not both on eth1"):
        measured([*BED, far], fabric="eth1", **{"from": "far", "to": "client1"})
    with pytest.raises(WorkloadError, match="no pair of nodes to measure is on eth1"):
        measured([BED[0], far], fabric="eth1")


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    command, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    task = Task(name="client", node="oss1", argv=tuple(shlex.split(command.removeprefix("$ "))), deadline_s=60)
    status = int(re.match(r"\d+", footer)[0])  # type: ignore[index]
    labels = {"from": "oss1", "to": "client1"}
    return Measurement(name="case", labels=labels, tasks=(task,)), Output(status, body, "", 10.0)


def figures(measurement: Measurement, output: Output) -> dict[tuple[str, str], float]:
    samples = IPERF3.parse(Options(), measurement, {"client": output})
    assert all(sample.labels["to"] != sample.labels["from"] for sample in samples)
    return {(sample.labels["from"], sample.metric.name): sample.value for sample in samples}


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-iperf3-\d+(\.\d+)+\+?\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    rows = [
        {"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 9), "from": s.labels["from"]}
        for s in IPERF3.parse(Options(), measurement, {"client": output})
    ]
    golden(path.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")


def test_each_direction_has_what_was_received_that_way() -> None:
    """The figures of iperf3's own sums, in Gbit/s; the second direction has names of its own."""
    assert figures(*read(CASES / "good/bidir-2-iperf3-3.12.txt")) == {
        ("oss1", "throughput"): pytest.approx(11.572587384624306),
        ("oss1", "retransmits"): 0,
        ("client1", "throughput"): pytest.approx(23.96070674254913),
        ("client1", "retransmits"): 0,
    }
    assert figures(*read(CASES / "good/reverse-3-iperf3-3.12.txt")) == {
        ("client1", "throughput"): pytest.approx(28.87453090676373),
        ("client1", "retransmits"): 0,
    }


def test_sums_of_the_same_name_are_told_apart_by_the_streams() -> None:
    measurement, output = read(CASES / "good/both-2-iperf3-3.7.txt")
    first, second = re.findall(r'"sum_received":[^}]*"bits_per_second":\s*([\d.]+)', output.stdout)
    found = figures(measurement, output)
    assert found["oss1", "throughput"] == pytest.approx(float(first) / 1e9)
    assert found["client1", "throughput"] == pytest.approx(float(second) / 1e9)


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match="iperf3's report is cut off"):
        IPERF3.parse(Options(), measurement, {"client": output})


SAID = {
    "busy": "the server is busy running a test. try again later",
    "refused-iperf3-3.1": "unable to connect to server",
    "refused-iperf3-3.7": "unable to connect to server: Connection refused",
    "interrupted": "interrupt - the client has terminated",
    "serverkilled-iperf3-3.16": "control socket has closed unexpectedly",
    "serverkilled": "unable to write to stream socket: Connection reset by peer",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
@pytest.mark.parametrize("status", [None, 0])
def test_failed_whatever_the_status(path: Path, status: int | None) -> None:
    measurement, output = read(path)
    output = output if status is None else replace(output, status=status)
    said = next(said for name, said in SAID.items() if path.stem.startswith(name))
    assert IPERF3.explain(output).startswith(said)
    with pytest.raises(WorkloadError, match=f"iperf3 failed: {said}"):
        IPERF3.parse(Options(), measurement, {"client": output})


def changed(change: Callable[[dict[str, object]], object], case: str = "out-4-iperf3-3.16") -> None:
    measurement, output = read(CASES / f"good/{case}.txt")
    content = json.loads(output.stdout)
    change(content)
    figures(measurement, replace(output, stdout=json.dumps(content, indent=1)))


@pytest.mark.parametrize("value", ["12", None, -1, float("nan"), float("inf"), True, [], {}, 1e300, 10**400, 0])
@pytest.mark.parametrize("where", ["streams", "sum_received"])
def test_what_is_no_rate_is_no_figure(where: str, value: object) -> None:
    def change(content: dict[str, object]) -> None:
        end = content["end"]
        assert isinstance(end, dict)
        row = end["streams"][0]["receiver"] if where == "streams" else end[where]
        row["bits_per_second"] = value

    with pytest.raises(WorkloadError, match=r"is no number|is not that of its streams"):
        changed(change)


def test_it_counts_what_it_asked_for() -> None:
    with pytest.raises(WorkloadError, match="3 of 4 streams were measured"):
        changed(lambda content: content["end"]["streams"].pop())  # type: ignore[index]
    with pytest.raises(WorkloadError, match=r"cut off: 0\.7 of 2 s were measured"):
        changed(lambda content: content["end"]["sum_received"].update(seconds=0.7))  # type: ignore[index]
    with pytest.raises(WorkloadError, match="did not measure the directions"):
        changed(lambda content: content["start"]["test_start"].update(reverse=1), case="out-4-iperf3-3.1.7")  # type: ignore[index]
    measurement, output = read(CASES / "good/out-4-iperf3-3.16.txt")
    both = replace(measurement.tasks[0], argv=("iperf3", "--bidir"))  # type: ignore[type-var]
    with pytest.raises(WorkloadError, match="did not measure the directions"):
        figures(replace(measurement, tasks=(both,)), output)


@pytest.mark.parametrize("value", [None, "", 0, {}])
def test_an_error_without_words_is_one(value: object) -> None:
    with pytest.raises(WorkloadError, match="iperf3 failed: it does not say why"):
        changed(lambda content: content.update(error=value))


def test_nothing_that_arrived_is_no_figure_of_zero() -> None:
    def change(content: dict[str, object]) -> None:
        end = content["end"]
        assert isinstance(end, dict)
        for row in (end["sum_received"], *(stream["receiver"] for stream in end["streams"])):
            row["bits_per_second"] = 0

    with pytest.raises(WorkloadError, match="nothing arrived"):
        changed(change)


def test_retransmits_that_a_system_does_not_count_are_absent() -> None:
    measurement, output = read(CASES / "good/back-iperf3-3.7.txt")
    text = re.sub(r'"retransmits":\s*\d+,', "", output.stdout)
    assert {name for _, name in figures(measurement, replace(output, stdout=text))} == {"throughput"}


@pytest.mark.parametrize(
    "noise",
    [
        "warning: this system does not seem to support IPv6 - trying IPv4\n",
        "warning: UDP block size 1460 exceeds TCP MSS 1448, may result in fragmentation / drops\n",
        "iperf_errexit: pthread_mutex_unlock: Invalid argument\n",
        "client1 ssh: {not json}\n",
    ],
)
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    measurement, output = read(CASES / "good/bidir-2-iperf3-3.12.txt")
    lines = output.stdout.splitlines(keepends=True)
    place = int(where * len(lines))
    noisy = replace(output, stdout="".join([*lines[:place], noise, *lines[place:]]), stderr=noise)
    assert figures(measurement, noisy) == figures(measurement, output)


def test_an_error_beside_the_document_is_one() -> None:
    measurement, output = read(CASES / "good/out-4-iperf3-3.1.7.txt")
    said = "iperf3: error - unable to send control message: Broken pipe\n"
    for failed in (replace(output, stdout=output.stdout + said), replace(output, stderr=said)):
        with pytest.raises(WorkloadError, match="iperf3 failed: unable to send control message: Broken pipe"):
            figures(measurement, failed)


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(path: Path, share: float) -> None:
    measurement, output = read(path)
    cut = replace(output, stdout=output.stdout[: int(share * len(output.stdout))])
    try:
        found = figures(measurement, cut)
    except WorkloadError:
        return
    assert found == figures(measurement, output)


WHOLE = [read(path)[1].stdout for path in (*kind("good"), *kind("failed"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 9000)], st.text())
    | st.builds(
        lambda t, value, which: re.sub(which, lambda found: found[1] + value, t),
        st.sampled_from(WHOLE),
        st.sampled_from(["null", '"x"', "-1", "NaN", "1e999", "9" * 400, "[]", "{}", "true"]),
        st.sampled_from(
            [rf'("{name}":\s*)[-\w.]+' for name in ("bits_per_second", "num_streams", "sender", "reverse")]
        ),
    )
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    measurement = Measurement(name="m", labels={"from": "a", "to": "b"})
    output = Output(0, text, "", 1.0)
    try:
        samples = IPERF3.parse(Options(), measurement, {"client": output})
    except WorkloadError:
        samples = ()
    for sample in samples:
        assert 0 <= sample.value < float("inf")
    assert IPERF3.explain(output)
    assert IPERF3.sanity(Options(), measurement, {"client": output}, samples) == ()
