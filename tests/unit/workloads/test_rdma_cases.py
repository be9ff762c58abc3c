"""Recorded perftest output, one file per case: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import WorkloadError
from vmlab.metrics import Sample
from vmlab.values.size import Bytes
from vmlab.workloads import Measurement, Output, Task
from vmlab.workloads.rdma import Options, Rdma

CASES = Path(__file__).parents[2] / "cases" / "rdma"
RDMA = Rdma()


def read(path: Path) -> tuple[Options, Measurement, Output]:
    command, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    argv = tuple(shlex.split(command.removeprefix("$ ")))
    options: dict[str, object] = {}
    if "-n" in argv:
        options["iterations"] = int(argv[argv.index("-n") + 1])
    if "-D" in argv:
        options["duration_s"] = int(argv[argv.index("-D") + 1])
    labels = {"from": "oss1", "to": "client1", "fabric": "ib0", "verb": "write"}
    task = Task(name="client", node="oss1", argv=argv, deadline_s=60)
    status = int(re.match(r"\d+", footer)[0])  # type: ignore[index]
    measurement = Measurement(name="case", labels=labels, tasks=(task,))
    return Options.model_validate(options), measurement, Output(status, body, "", 60.0)


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def lines(samples: tuple[Sample, ...]) -> str:
    return json.dumps(
        [
            {"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 6), "size": s.labels["size"]}
            for s in samples
        ],
        indent=1,
    )


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-perftest-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    options, measurement, output = read(path)
    samples = RDMA.parse(options, measurement, {"client": output})
    golden(path.with_suffix(".json"), lines(samples) + "\n")
    assert RDMA.sanity(options, measurement, {"client": output}, samples) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    options, measurement, output = read(path)
    with pytest.raises(WorkloadError, match=r"cut off|does not fit"):
        RDMA.parse(options, measurement, {"client": output})


SAID = {
    "rdma_lat-no-server": "could not connect to 127.0.0.1:18599",
    "no-rdma_cm": "the guest has no rdma_cm (rdma_create_event_channel failed): modprobe rdma_ucm",
    "no-device": "the guest has no RDMA device mlx5_0",
    "no-server": "could not connect to 10.77.1.12:18515",
    "wrong-gid": "Gid index should be between 0 and 64",
    "completion-error": "a transfer ended with completion status 5",
    "link-down": "a transfer ended with completion status 12",
    "no-lid": "the port has no LID: no subnet manager runs on this fabric",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    options, measurement, output = read(path)
    assert not output.ok
    assert RDMA.explain(output) == next(said for name, said in SAID.items() if name in path.name)
    with pytest.raises(WorkloadError):
        RDMA.parse(options, measurement, {"client": output})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            (
                "Failed to allocate hugepages. Please configure hugepages\nFailed to allocate hugepage region.\n"
                "failed to create mr\nFailed to create MR\nCouldn't create IB resources\n"
            ),
            "Failed to allocate hugepages. Please configure hugepages",
        ),
        (
            "Couldn't allocate MR\nfailed to create mr\nFailed to create MR\n Couldn't create IB resources\n",
            "Couldn't allocate MR",
        ),
        (
            " Port number 1 state is Down\n Couldn't set the link layer\n Couldn't get context for the device\n",
            "Port number 1 state is Down: the RDMA device's port has no link",
        ),
        (
            "Unable to create QP.\nFailed to create QP.\n Couldn't create IB resources\n",
            "Unable to create QP.",
        ),
        ("Couldn't create CQ\nFailed to create CQs\nCouldn't create IB resources\n", "Couldn't create CQ"),
        (
            "Couldn't get device attributes\nUnable to create QP.\nFailed to create QP.\n",
            "Couldn't get device attributes",
        ),
        (
            (
                "ethernet_read_keys: Couldn't read remote address\n Unable to read to socket/rdma_cm\n"
                " Failed to exchange data between server and clients\n"
            ),
            "the other side went away: Couldn't read remote address",
        ),
        (
            "Couldn't allocate MR\nfailed to create mr\nFailed to create MR\nSegmentation fault (core dumped)\n",
            "Couldn't allocate MR",
        ),
        (
            (
                "ib_write_bw: error while loading shared libraries: libibumad.so.3: cannot open shared object file: "
                "No such file or directory\n"
            ),
            "ib_write_bw needs the library libibumad.so.3, which is absent",
        ),
        ("-----------\n", "status 1"),
    ],
)
def test_the_cause_is_told_and_not_what_follows(text: str, said: str) -> None:
    """Words of perftest, collected from reports about it."""
    assert RDMA.explain(Output(1, "", text, 1.0)) == said
    assert RDMA.explain(Output(1, text, "", 1.0)) == said


def test_a_completion_error_is_the_fault_of_what_is_measured() -> None:
    path = next(path for path in kind("failed") if "completion-error" in path.name)
    options, measurement, output = read(path)
    problems = RDMA.sanity(options, measurement, {"client": output}, ())
    assert problems == ("a transfer of the client ended with completion status 5 (flushed)",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("512:pp_client_connect: unexpected CM event 8\n", "rdma_cm: the other side refused the connection; no server"),
        (
            " Unexpected CM event bl blka 8\n Unable to perform rdma_client function\n",
            "rdma_cm: the other side refused",
        ),
        ("512:pp_client_connect: unexpected CM event 1\n", r"rdma_cm could not connect \(event 1\)"),
        ("512:pp_server_connect: Couldn't listen to port 18515\n", "cannot listen on TCP port 18515"),
        ("512:pp_wait_for_done: bad wc status 12\n", "a transfer ended with completion status 12"),
    ],
)
def test_the_old_programs_words(text: str, said: str) -> None:
    assert re.match(said, RDMA.explain(Output(1, "", text, 1.0)))


OLD = "Latency typical: {} usec\nLatency best   : 1.5 usec\nLatency worst  : 1.2e+06 usec\n"
ASKED = Task(name="client", node="a", argv=("rdma_lat", "-s", "64", "-n", "1000", "b"), deadline_s=1)


def old_latency(text: str, *tasks: Task, seconds: float = 60.0) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    measurement = Measurement(name="m", labels={"from": "a", "to": "b"}, tasks=tasks)
    outputs = {"client": Output(0, text, "", seconds)}
    samples = RDMA.parse(Options(), measurement, outputs)
    return samples, RDMA.sanity(Options(), measurement, outputs, samples)


def test_the_old_latency_is_of_the_size_that_was_asked_for() -> None:
    noise = "Conflicting CPU frequency values detected: 1200.000000 != 2400.000000\n"
    samples, problems = old_latency(noise + OLD.format("2.5"), ASKED)
    assert {(s.metric.name, s.value, s.labels["size"]) for s in samples} == {
        ("latency", 2.5, "64"), ("latency_min", 1.5, "64"), ("latency_max", 1.2e6, "64"),
    }  # fmt: skip
    assert problems == ()
    assert "cannot have taken" in old_latency(OLD.format("2500"), ASKED, seconds=1.0)[1][0]
    with pytest.raises(WorkloadError, match="does not say the size"):
        old_latency(OLD.format("2.5"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OLD.format("inf"), "could not tell how fast the CPU's clock runs"),
        (OLD.replace("usec", "cycles").format("2.5"), "the unknown unit 'cycles'"),
        (OLD.format("2.5").replace("worst", "wor"), "cut off"),
        (OLD.format("2.5").removesuffix(" usec\n"), "cut off"),
    ],
)
def test_an_old_latency_that_is_none(text: str, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        old_latency(text, ASKED)


HEADER = " #bytes     #iterations    BW peak[{0}]    BW average[{0}]   MsgRate[Mpps]\n"
RULE = "-" * 87 + "\n"


def parse(text: str, seconds: float = 60.0, **options: object) -> dict[str, float]:
    chosen = Options.model_validate({"iterations": 200} | options)
    measurement = Measurement(name="m", labels={"from": "a", "to": "b"})
    outputs = {"client": Output(0, text, "", seconds)}
    return {sample.metric.name: sample.value for sample in RDMA.parse(chosen, measurement, outputs)}


def sane(text: str, seconds: float = 60.0) -> tuple[str, ...]:
    options = Options.model_validate({"iterations": 200})
    measurement = Measurement(name="m", labels={"from": "a", "to": "b"})
    outputs = {"client": Output(0, text, "", seconds)}
    return RDMA.sanity(options, measurement, outputs, RDMA.parse(options, measurement, outputs))


def test_the_unit_is_read_from_the_header() -> None:
    row = " 65536      200              17.00              16.00    0.000256\n"
    assert parse(HEADER.format("MiB/sec") + row + RULE)["bandwidth"] == 16
    assert parse(HEADER.format("MB/sec") + row + RULE)["bandwidth"] == 16
    assert parse(HEADER.format("Gb/sec") + row + RULE)["bandwidth"] == pytest.approx(16e9 / 8 / Bytes.parse("1MiB"))
    assert parse(HEADER.format("MiB/sec") + row + RULE)["message_rate"] == pytest.approx(256)
    with pytest.raises(WorkloadError, match="unknown unit 'furlong/sec'"):
        parse(HEADER.format("furlong/sec") + row + RULE)


def test_warnings_may_stand_anywhere_before_the_rows() -> None:
    warning = "Conflicting CPU frequency values detected: 1200.000000 != 2400.000000\n"
    row = " 65536      200              17.00              16.00    0.000256\n"
    assert parse(warning + HEADER.format("MB/sec") + warning + row + RULE)["bandwidth"] == 16


def test_a_table_has_the_sizes_that_were_asked_for() -> None:
    """A rule may stand in it that is not its own."""
    [path] = [path for path in kind("good") if "all-sizes" in path.name]
    options, measurement, output = read(path)
    lines = output.stdout.splitlines(keepends=True)
    rows = [place for place, line in enumerate(lines) if re.match(r" *[0-9]+ ", line)]
    assert len(rows) == 23
    for place in rows[1:]:
        text = "".join((*lines[:place], RULE, *lines[place:]))
        with pytest.raises(WorkloadError, match="cut off: it has"):
            RDMA.parse(options, measurement, {"client": Output(0, text, "", 60.0)})
        text = "".join((*lines[:place], *lines[place + 1 :]))
        with pytest.raises(WorkloadError, match="22 of the 23 sizes"):
            RDMA.parse(options, measurement, {"client": Output(0, text, "", 60.0)})


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_lines_may_end_as_on_a_terminal(path: Path) -> None:
    options, measurement, output = read(path)
    text = output.stdout.replace("\n", "\r\n")
    whole = RDMA.parse(options, measurement, {"client": output})
    assert RDMA.parse(options, measurement, {"client": Output(0, text, "", 60.0)}) == whole


def test_a_peak_that_was_not_measured_is_no_figure() -> None:
    row = " 65536      200              0.00               16.00    0.000256\n"
    assert "bandwidth_peak" not in parse(HEADER.format("MB/sec") + row + RULE)


def test_sanity() -> None:
    table = HEADER.format("MB/sec") + " 65536      {}              17.00              {}    0.000256\n" + RULE
    assert sane(table.format(200, "16.00")) == ()
    assert sane(table.format(150, "16.00")) == ("only 150 of 200 messages of 64KiB were measured",)
    assert sane(table.format(200, "0.00")) == ("bandwidth of 64KiB messages is 0",)
    assert "cannot have taken 12.5 s" in sane(table.format(200, "1.00"), seconds=3.0)[0].replace("12.4", "12.5")
    other = " Dual-port       : OFF\t\tDevice         : mlx5_3\n" + table.format(200, "16.00")
    task = Task(name="client", node="a", argv=("ib_write_bw", "-d", "rxe_ib0"), deadline_s=1)
    measurement = Measurement(name="m", labels={}, tasks=(task,))
    options = Options.model_validate({"iterations": 200})
    outputs = {"client": Output(0, other, "", 60.0)}
    samples = RDMA.parse(options, measurement, outputs)
    assert RDMA.sanity(options, measurement, outputs, samples) == (
        "the transfers went through mlx5_3, not through rxe_ib0",
    )


WHOLE = [path.read_text() for path in kind("good")]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    options = Options()
    measurement = Measurement(name="m", labels={})
    outputs = {"client": Output(0, text, "", 1.0)}
    try:
        samples = RDMA.parse(options, measurement, outputs)
    except WorkloadError:
        samples = ()
    for sample in samples:
        assert 0 <= sample.value < float("inf")
    RDMA.sanity(options, measurement, outputs, samples)
