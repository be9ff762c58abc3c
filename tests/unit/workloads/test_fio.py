"""fio's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vmlab.errors import WorkloadError
from vmlab.metrics import Sample
from vmlab.runtime import process
from vmlab.workloads import Job, Measurement, Node, Output
from vmlab.workloads.fio import Fio, Options

CASES = Path(__file__).parents[2] / "cases" / "fio"
FIO = Fio()


def node(name: str, role: str, tools: str = "fio\n", free: int = 8 << 20) -> Node:
    return Node(name, (role,), (), {"tools": tools, "mounts": f"{free} /mnt/lustre\n"})


BED = [node("oss1", "oss"), node("client1", "client"), node("client2", "client")]


def measured(bed: list[Node] = BED, **options: object) -> Measurement:
    [[found]] = FIO.measurements(Options.model_validate(options), bed)
    return found


def job(measurement: Measurement) -> Job:
    [found] = measurement.tasks
    assert isinstance(found, Job)
    return found


def test_all_clients_lay_out_their_files_and_begin_at_once() -> None:
    found = job(measured(rw="randrw", read_percent=90, jobs=4, depth=16, block="8k", size="1MiB", runtime_s=60))
    assert [task.name for task in found.prepare] == ["layout.client1", "layout.client2"]
    assert [task.name for task in found.tasks] == ["fio.client1", "fio.client2"]
    fio = (
        "fio --output-format=json --name=vmlab --directory=/mnt/lustre/vmlab-fio/client1 --rw=randrw --rwmixread=90 "
        "--bs=8192 --size=1048576 --numjobs=4 --iodepth=16 --ioengine=libaio --direct=1 --time_based=1 --runtime=60 "
        "--group_reporting --percentile_list=50:90:95:99:99.9:99.99"
    )
    assert shlex.join(found.prepare[0].argv).endswith(f" vmlab /mnt/lustre/vmlab-fio/client1 1 {fio}")
    log = "--unlink=1 --write_bw_log=client1 --log_avg_msec=1000 --per_job_logs=0"
    assert shlex.join(found.tasks[0].argv) == f"{fio} {log}"
    assert found.tasks[0].brings == ("client1_bw.log",)
    assert found.tasks[0].deadline_s == 180
    assert FIO.takes_part(Options(), BED) == ("client1", "client2")


def test_what_is_only_written_is_not_laid_out() -> None:
    argv = job(measured(rw="write", ramp_s=5, direct=False)).prepare[0].argv
    assert argv[argv.index("vmlab") + 2] == "0"
    assert {"--ramp_time=5", "--direct=0"} <= set(argv)
    assert not any(word.startswith("--rwmixread") for word in argv)


@pytest.mark.parametrize(("rw", "laid_out"), [("randrw", ["--create_only=1"]), ("randwrite", [])])
def test_laying_out_begins_anew(tmp_path: Path, rw: str, laid_out: list[str]) -> None:
    """With a fio that notes how it was called."""
    called = tmp_path / "called"
    fio = tmp_path / "fio"
    fio.write_text(f'#!/bin/sh\necho told; for word; do echo "$word" >>{called}; done\n')
    fio.chmod(0o755)
    folder = tmp_path / "vmlab-fio" / "client1"
    folder.mkdir(parents=True)
    (folder / "old").write_text("x")
    argv = job(measured(rw=rw, directory=str(tmp_path))).prepare[0].argv
    done = process.run(argv, deadline_s=60, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.status == 0
    assert re.fullmatch(r"(dropped|kept) .*\n", done.stdout)
    assert list(folder.iterdir()) == []
    words = called.read_text().splitlines() if called.exists() else []
    assert words[-1:] == laid_out
    assert (f"--directory={folder}" in words) == bool(laid_out)


def test_labels_tell_cases_apart() -> None:
    assert measured(rw="randrw", read_percent=90).labels == {
        "nodes": "client[1-2]",
        "rw": "randrw",
        "block": "4096",
        "jobs": "1",
        "depth": "1",
        "read_percent": "90",
    }
    assert "read_percent" not in measured(rw="read").labels


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="client2 has no fio"):
        measured([*BED[:2], node("client2", "client", tools="")])
    with pytest.raises(WorkloadError, match="16GiB do not fit into the 8192MiB") as caught:
        measured(size="8GiB")
    assert "--set size=3891MiB" in caught.value.hint
    assert "/data/vmlab-fio/client1" in job(measured(size="8GiB", directory="/data")).tasks[0].argv[3]
    with pytest.raises(ValidationError, match="size is smaller than a block"):
        Options.model_validate({"size": "1k"})


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> Output:
    body, footer = path.read_text().partition("\n")[2].rsplit("# rc=", 1)
    return Output(int(re.match(r"\d+", footer)[0]), body, "", 10.0)  # type: ignore[index]


def parse(*outputs: Output, **options: object) -> tuple[Sample, ...]:
    nodes = {f"fio.n{place}": output for place, output in enumerate(outputs, start=1)}
    return FIO.parse(Options.model_validate(options), Measurement(name="m", labels={}), nodes)


def figures(samples: tuple[Sample, ...], *labels: str) -> dict[str, float]:
    return {s.metric.name: s.value for s in samples if tuple(s.labels.values()) == labels}


GROUPS = read(CASES / "good/groups-and-notes-fio-3.33.txt")


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-fio-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    output = read(path)
    found = [
        {"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 6), **s.labels} for s in parse(output)
    ]
    golden(path.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    assert FIO.sanity(Options(), Measurement(name="m", labels={}), {"fio.n1": output}, ()) == ()


def test_each_direction_of_a_job_that_moved_something_has_figures_in_their_units() -> None:
    samples = parse(GROUPS)
    assert figures(samples, "seqw", "write", "n1") == pytest.approx(
        {
            "node_bandwidth": 2396745142 / 2**20,
            "node_iops": 585142.857143,
            "latency": 2.073609619,
            "latency_p50": 1.144,
            "latency_p99": 1.752,
            "latency_p999": 9.536,
            "latency_max": 3317.148,
        }
    )
    assert figures(samples, "notime", "read", "n1")["node_bandwidth"] == pytest.approx(40919 / 2**20)
    assert {(s.labels["job"], s.labels["direction"]) for s in samples} == {
        *(("seqw", "write"), ("mixed", "read"), ("mixed", "write"), ("notime", "read"))
    }


def test_nodes_are_added_up_and_stand_by_themselves() -> None:
    samples = parse(GROUPS, GROUPS)
    one, other = (figures(samples, "mixed", "read", name) for name in ("n1", "n2"))
    assert one == other
    assert figures(samples, "mixed", "read") == {
        "bandwidth": pytest.approx(2 * one["node_bandwidth"]),
        "iops": pytest.approx(2 * one["node_iops"]),
    }


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
@pytest.mark.parametrize("status", [None, 0])
def test_truncated(path: Path, status: int | None) -> None:
    output = read(path)
    output = output if status is None else replace(output, status=status)
    with pytest.raises(
        WorkloadError, match=r"fio's report is cut off|cut off by signal (2 after 2\.73|15 after 1\.\d+) s"
    ):
        parse(output)


SAID = {
    "full": r"(full|vmlab) failed: No space left on device \(error 28\)",
    "wrong-data": r"v failed: data read back are not what was written \(error 84\)",
    "idle-job": "late moved nothing by read",
    "input-output": r"v failed: Input/output error \(error 5\)",
    "no-directory": "/mnt/nodir is not a directory",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed_whatever_the_status(path: Path) -> None:
    said = next(said for name, said in SAID.items() if path.name.startswith(name))
    for output in (read(path), replace(read(path), status=0)):
        with pytest.raises(WorkloadError, match=f"{said}|fio's report is not there"):
            parse(output)
        if "idle" not in path.name:
            assert re.fullmatch(said, FIO.explain(output))


def test_a_full_file_system_is_the_labs_doing_and_an_input_output_error_is_not() -> None:
    measurement = Measurement(name="m", labels={})
    outputs = {f"fio.{path.name.partition('-')[0]}": read(path) for path in kind("failed")}
    assert FIO.sanity(Options(), measurement, outputs, ()) == (
        "input: v failed: Input/output error (error 5)",
        "wrong: v failed: data read back are not what was written (error 84)",
    )


def test_an_interrupted_job_is_cut_off_though_nobody_says_so() -> None:
    output = read(CASES / "truncated/interrupted-fio-3.33.txt")
    silent = replace(output, stdout=output.stdout.replace("fio: terminating on signal 2", ""))
    with pytest.raises(WorkloadError, match=r"int is cut off: 2\.73 of 20 s were measured"):
        parse(silent)


def changed(*path: str | int, value: object, of: Output = GROUPS) -> Output:
    content = json.loads(of.stdout[of.stdout.index("{") :])
    place: Any = content
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return replace(of, stdout=json.dumps(content, indent=2))


SEQUENTIAL = ("jobs", 0, "write")


@pytest.mark.parametrize("value", ["12", None, -1, float("nan"), float("inf"), True, [], {}, 10**400])
@pytest.mark.parametrize(
    "path",
    [
        ("jobs", 0, "error"),
        *((*SEQUENTIAL, name) for name in ("io_bytes", "bw_bytes", "iops", "runtime")),
        (*SEQUENTIAL, "lat_ns", "mean"),
        (*SEQUENTIAL, "clat_ns", "percentile", "99.000000"),
    ],
)
def test_what_is_no_number_is_no_figure(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(WorkloadError, match=rf"fio's {path[-1]} is no number"):
        parse(changed(*path, value=value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("jobs",), [], "fio ran no job"),
        (("jobs",), ["x"], "has no list jobs"),
        (("jobs",), {}, "has no list jobs"),
        (("fio version",), ..., "does not say its version"),
        (("jobs", 0, "error"), ..., "fio's error is no number"),
        (("jobs", 0, "write"), None, "has no write"),
        (("jobs", 0, "write"), ..., "seqw moved nothing by write"),
        (("jobs", 1, "write", "io_bytes"), 0, "mixed moved nothing by write"),
        (("jobs", 0, "write", "io_bytes"), 4096, "seqw is cut off: 4096 of 16777216 bytes were moved"),
        (("jobs", 2, "read", "runtime"), 500, r"notime is cut off: 0\.5 of 1 s were measured"),
        (("jobs", 0, "first_error"), 28, r"seqw failed: No space left on device \(error 28\)"),
        (("jobs", 0, "error"), 10**9, "seqw failed: Unknown error"),
        (("jobs", 0, "write", "bw_bytes"), 0, "moved something in no time"),
    ],
)
def test_each_job_counts_what_it_was_asked_for(path: tuple[str | int, ...], value: object, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        parse(changed(*path, value=value))


@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({"size": "8m", "runtime": "20"}, True),
        ({"size": "8m", "runtime": "20", "time_based": "1"}, False),
        ({"size": "9m", "runtime": "20"}, False),
        ({"size": "50%", "runtime": "20"}, True),
        ({"size": "1g", "io_size": "16m", "runtime": "20"}, True),
        ({"size": "1g", "io_size": "16m", "runtime": "20", "time_based": "1"}, False),
        ({"size": "9m", "runtime": "3ms"}, True),
        ({"size": "9m"}, False),
        ({"size": "4m"}, True),
    ],
)
def test_a_job_may_be_over_before_its_time_when_it_has_done_all(options: dict[str, str], whole: bool) -> None:
    """16 MiB in 7 ms by two processes, whose rows are one."""
    output = changed(*SEQUENTIAL[:2], "job options", value={"rw": "write", "numjobs": "2", **options})
    alone = changed("global options", value={}, of=output)
    if whole:
        assert parse(alone)
    else:
        with pytest.raises(WorkloadError, match="seqw is cut off"):
            parse(alone)


def test_percentiles_that_were_not_asked_for_are_absent() -> None:
    samples = parse(changed(*SEQUENTIAL, "clat_ns", "percentile", value=...))
    assert set(figures(samples, "seqw", "write", "n1")) == {"node_bandwidth", "node_iops", "latency", "latency_max"}


def test_latencies_that_were_switched_off_are_absent() -> None:
    off = {"min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0}
    output = changed(*SEQUENTIAL, "lat_ns", value=off, of=changed(*SEQUENTIAL, "clat_ns", value=off))
    assert set(figures(parse(output), "seqw", "write", "n1")) == {"node_bandwidth", "node_iops"}


def test_an_old_fio_counts_in_kib_and_us() -> None:
    """`io_bytes` in KiB, `bw` in KiB/s, `lat` and `clat` in us: fio 2.16, stat.c."""
    row = {"io_bytes": 4096, "bw": 2048, "iops": 512.0, "runtime": 2000}
    row |= {"lat": {"max": 90, "mean": 12.5}, "clat": {"max": 90, "percentile": {"99.990000": 80}}}
    still = {"io_bytes": 0, "bw": 0, "iops": 0.0, "runtime": 0}
    options = {"rw": "write", "size": "4m"}
    of = {"jobname": "old", "error": 0, "job options": options, "read": still, "write": row}
    found = figures(
        parse(Output(0, json.dumps({"fio version": "fio-2.16", "jobs": [of]}, indent=1), "", 1.0)),
        *("old", "write", "n1"),
    )
    assert found == {"node_bandwidth": 2, "node_iops": 512, "latency": 12.5, "latency_max": 90, "latency_p9999": 80}


def test_processes_with_rows_of_their_own_are_numbered_and_added_up() -> None:
    content = json.loads(GROUPS.stdout[GROUPS.stdout.index("{") :])
    content["jobs"] = [content["jobs"][0], json.loads(json.dumps(content["jobs"][0]))]
    same = parse(replace(GROUPS, stdout=json.dumps(content, indent=1)))
    assert [figures(same, "seqw", "write", number, "n1")["node_iops"] for number in "12"] == [585142.857143] * 2
    content["jobs"][1]["write"]["iops"] = 1.0
    samples = parse(replace(GROUPS, stdout=json.dumps(content, indent=1)))
    assert figures(samples, "seqw", "write")["iops"] == pytest.approx(585143.857143)
    assert figures(samples, "seqw", "write", "2", "n1")["node_iops"] == 1


NOTES = (
    "note: both iodepth >= 1 and synchronous I/O engine are selected, queue depth will be capped at 1\n",
    "fio: this platform does not support process shared mutexes, forcing use of threads. Use the 'thread' option\n",
    "clock setaffinity failed: Invalid argument\n",
    "client1 ssh: {not json}\n",
)


@pytest.mark.parametrize("noise", NOTES)
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    good = read(CASES / "good/readwrite-on-lustre-fio-3.33.txt")
    lines = good.stdout.splitlines(keepends=True)
    place = int(where * len(lines))
    noisy = replace(good, stdout="".join([*lines[:place], noise, *lines[place:]]), stderr=noise)
    assert parse(noisy) == parse(good)


def test_a_note_may_not_end_its_line_before_the_report() -> None:
    assert parse(replace(GROUPS, stdout=f"fio: a note{GROUPS.stdout[GROUPS.stdout.index('{') :]}")) == parse(GROUPS)


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(path: Path, share: float) -> None:
    output = read(path)
    cut = replace(output, stdout=output.stdout[: int(share * len(output.stdout))])
    try:
        found = parse(cut)
    except WorkloadError:
        return
    assert found == parse(output)


def test_what_was_read_with_caches_kept_is_told() -> None:
    kept = {"layout.client1": Output(0, "kept client1 there is no lctl to give up its locks\n", "", 1.0)}
    measurement = Measurement(name="m", labels={})
    [note] = FIO.notes(Options(direct=False, rw="randrw"), measurement, kept)
    assert note.startswith("read figures: of the client's own cache, not of the servers, for client1: there is no lctl")
    assert FIO.notes(Options(rw="randrw"), measurement, kept) == ()
    assert FIO.notes(Options(direct=False, rw="write"), measurement, kept) == ()
    dropped = {"layout.client1": Output(0, "dropped client1\n", "", 1.0)}
    assert FIO.notes(Options(direct=False), measurement, dropped) == ()


# --- bandwidth over time -------------------------------------------------------------------------------------------


def timed(*logs: str, seconds: float = 5.0) -> list[Output]:
    row = {"io_bytes": 4096, "io_kbytes": 4, "bw_bytes": 1 << 20, "iops": 1.0, "runtime": int(seconds * 1000)}
    of = {"jobname": "vmlab", "error": 0, "read": row, "job options": {"rw": "read"}}
    text = json.dumps({"fio version": "fio-3.33", "jobs": [of]}, indent=1)
    return [
        Output(0, text, "", seconds, files={f"n{place}_bw.log": log.encode()})
        for place, log in enumerate(logs, start=1)
    ]


def lines(*rates: int, at: int = 1000, step: int = 1000) -> str:
    return "".join(f"{at + place * step}, {rate}, 0, 0, 0\n" for place, rate in enumerate(rates) if rate)


def over_time(samples: tuple[Sample, ...]) -> list[float]:
    return [
        round(s.value, 3) for s in samples if s.metric.name == "bandwidth_second" and s.labels["direction"] == "read"
    ]


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        (lines(1024, 2048, 3072, 4096), [1, 2, 3, 4]),
        (lines(1024, 2048, 3072, 4096, 5120), [1, 2, 3, 4]),
        (lines(1024, 0, 0, 4096), [1, 0, 0, 4]),
        (lines(1024, 1024, 1024, 1024) + lines(2048, 2048, 0, 2048), [3, 3, 1, 3]),
        (lines(1024, 1024, 1024, 1024, at=1090), [1, 1, 1, 1]),
        (lines(1024, 1024, 1024, 1024, at=1004, step=1004), [1, 1, 1, 1]),
        (
            "1000, 1024, 0, 0, 0\n1000, 9, 1, 0, 0\n2000, 1024, 0, 0, 0, 0\n3000,1024,0\n4000, 1024, 0, 4096\n",
            [1, 1, 1, 1],
        ),
    ],
)
def test_each_second(log: str, seconds: list[float]) -> None:
    samples = parse(*timed(log), over_time=True)
    assert over_time(samples) == seconds
    told = {s.metric.name: s.value for s in samples if s.labels["direction"] == "read"}
    assert told["bandwidth_lowest"] == pytest.approx(min(seconds))
    assert told["steadiness"] == pytest.approx(100 * min(seconds) * len(seconds) / sum(seconds))
    assert over_time(parse(*timed(log))) == []


def test_the_seconds_of_all_nodes_are_added_up() -> None:
    samples = parse(*timed(lines(1024, 1024, 1024, 1024), lines(3072, 0, 3072, 3072)), over_time=True)
    assert over_time(samples) == [4, 1, 4, 4]


@pytest.mark.parametrize("log", ["", lines(1024)])
def test_too_little_is_not_steady(log: str) -> None:
    assert not {"steadiness", "bandwidth_lowest"} & {s.metric.name for s in parse(*timed(log, seconds=2.5))}


def test_without_the_logs_of_all_there_is_no_steadiness() -> None:
    one, other = timed(lines(1, 1, 1, 1), lines(1, 1, 1, 1))
    assert "steadiness" not in {s.metric.name for s in parse(one, replace(other, files={}))}


@pytest.mark.parametrize(
    "line", ["1000, 1024", "1000, fast, 0, 0", "1000, 1024, 7, 0, 0", "-5, 1, 0, 0", "1e9, 1, 0, 0"]
)
def test_a_line_of_a_log_that_is_none(line: str) -> None:
    with pytest.raises(WorkloadError, match="a line of fio's bandwidth log is none"):
        parse(*timed(f"{lines(1, 1)}{line}\n"))


WHOLE = [read(path).stdout for path in (*kind("good"), *kind("failed"))]
FIELDS = (
    "bw_bytes",
    "io_bytes",
    "error",
    "iops",
    "runtime",
    "mean",
    "max",
    "99.000000",
    "size",
    "runtime",
    "numjobs",
    "rw",
)


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 25_000)], st.text())
    | st.builds(
        lambda text, name, value: re.sub(rf'("{name}"\s*:\s*)[^,\n]+', lambda found: found[1] + value, text),
        st.sampled_from(WHOLE),
        st.sampled_from(FIELDS),
        st.sampled_from(["null", '"x"', '"9m"', "-1", "NaN", "1e999", "9" * 400, "[]", "{}", "true", "0"]),
    ),
    st.text() | st.from_regex(r"([0-9]{1,6}, [0-9]{1,15}, [0-3]\n){0,9}", fullmatch=True),
)
def test_any_text_gives_figures_or_a_workload_error(text: str, log: str) -> None:
    output = Output(0, text, "", 1.0, files={"n1_bw.log": log.encode(errors="replace")})
    try:
        samples = parse(output, over_time=True)
    except WorkloadError:
        samples = ()
    assert all(0 <= sample.value < float("inf") for sample in samples)
    FIO.sanity(Options(), Measurement(name="m", labels={}), {"fio.n1": output}, samples)
    assert FIO.explain(output)
