"""IOR's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

import json
import os
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
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Node, Output, Outputs, Task
from vmlab.workloads._options import points
from vmlab.workloads.ior import Ior, Options

CASES = Path(__file__).parents[2] / "cases" / "ior"
IOR = Ior()
FACTS = """\
program /usr/local/bin/ior
built openmpi
mpirun openmpi /usr/bin/mpirun
mpirun mpich /usr/bin/mpirun.mpich
MemTotal:        1048576 kB
"""
MOUNTED = "8388608 /mnt/lustre\n"


def node(name: str, number: int, *roles: str, facts: str = FACTS, mounted: str = MOUNTED) -> Node:
    places = tuple(
        Endpoint(fabric, kind, IPv4Address(f"10.77.{place}.{number}"), fabric)
        for place, (fabric, kind) in enumerate((("mgmt", "management"), ("ib0", "infiniband")))
    )
    return Node(name, roles, places, {"mpi": facts, "memory": facts, "mounts": mounted})


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node], **options: object) -> list[Measurement]:
    return [m for r in IOR.measurements(Options.model_validate(options), bed) for m in r]


def command(measurement: Measurement, task: str = "ior-read") -> str:
    return shlex.join(next(t.argv for t in measurement.tasks if t.name == task))


def test_all_clients_write_twice_their_memory_and_read_it_in_a_run_of_its_own() -> None:
    own, shared = measured(BED)
    mpirun = "/usr/bin/mpirun --allow-run-as-root -x VMLAB_RUN --mca btl_tcp_if_include mgmt "
    mpirun += "--mca oob_tcp_if_include mgmt --bind-to core:overload-allowed --host client1:1,client2:1 -np 2 "
    files = "-C -Q 1 -t 1048576 -b 2147483648 -o /mnt/lustre/vmlab-ior/data -O summaryFormat=JSON"
    ior = mpirun + "/usr/local/bin/ior -a POSIX -F "
    assert [task.name for task in own.tasks] == ["prepare", "ior-write", "drop", "ior-read"]
    assert command(own, "ior-write") == f"{ior}-w -k -e -g {files}"
    assert command(own, "drop").startswith(f"{mpirun}sh -c ")
    assert command(own, "ior-read") == f"{ior}-r -g {files}"
    for name in ("ior-write", "ior-read"):
        assert command(shared, name) == command(own, name).replace(" -F", "")
    assert [m.tasks[0].argv[-2:] for m in (own, shared)] == [
        ("/mnt/lustre/vmlab-ior", "1"),
        ("/mnt/lustre/vmlab-ior", "-1"),
    ]
    assert IOR.takes_part(Options(), BED) == ("client1", "client2")


def test_each_repetition_drops_the_caches() -> None:
    names = [task.name for task in measured(BED, repetitions=2)[0].tasks]
    assert names == ["prepare", "ior-write.1", "drop.1", "ior-read.1", "ior-write.2", "drop.2", "ior-read.2"]
    only = measured(BED, operations=["write"])[0]
    assert [task.name for task in only.tasks] == ["prepare", "ior-write"]
    assert " -k " not in command(only, "ior-write")


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
    first = measured(BED, check=True, repetitions=2)[0]
    assert " -w -k -e -g -C -Q 1 -G 2 " in command(first, "ior-write.2")
    assert " -r -R -g -C -Q 1 -G 2 " in command(first, "ior-read.2")
    written = measured(BED, check=True, operations=["write"])[0]
    assert " -R -g " in command(written)
    assert " -r " not in command(written)


def test_mpi_io() -> None:
    own, shared = measured(BED, api="MPIIO")
    assert " -a MPIIO -F -w " in command(own, "ior-write")
    assert " -a MPIIO -r " in command(shared)
    assert own.labels["api"] == "MPIIO"
    assert "api" not in measured(BED)[0].labels


def test_a_stonewall_keeps_for_the_reader_how_much_was_written() -> None:
    first = measured(BED, stonewall_s=30, repetitions=2, timeout_s=60)[0]
    status = "-D 30 -O stoneWallingStatusFile=/mnt/lustre/vmlab-ior/stonewall"
    assert f" -w -k -e -g -O stoneWallingWearOut=1 -C -Q 1 {status} -t " in command(first, "ior-write.1")
    assert f" -r -k -g -C -Q 1 {status} -t " in command(first, "ior-read.2")
    assert [task.name for task in first.tasks][-4:] == ["ior-write.2", "drop.2", "ior-read.2", "remove.2"]
    assert command(first, "remove.1") == "find /mnt/lustre/vmlab-ior -type f -delete"
    assert next(t.deadline_s for t in first.tasks if t.name == "ior-read.1") == 90
    assert first.labels["stonewall_s"] == "30"
    # Nobody reads: IOR itself removes what it wrote.
    only = measured(BED, stonewall_s=30, operations=["write"])[0]
    assert [task.name for task in only.tasks] == ["prepare", "ior-write"]
    assert " -w -e -g -O stoneWallingWearOut=1 -C -Q 1 -D 30 -t " in command(only, "ior-write")
    # How much that will be nobody knows.
    full = [replace(n, facts={**n.facts, "mounts": MOUNTED.replace("8388608", "2097152")}) for n in BED]
    assert measured(full, stonewall_s=30)


def test_files_of_one_to_n_nodes_with_three_sizes_as_in_the_paper() -> None:
    ftas = [node(f"fta{number:02}", number, "fta", mounted=f"{4 << 30} /mnt/lustre\n") for number in range(1, 12)]
    swept = {"nodes": "1..11", "transfer_sizes": ["10KB", "100KB", "1MB"], "block": "48GiB", "file_per_process": True}
    found = [(point, m) for point in points(IOR, swept) for r in IOR.measurements(point.options, ftas) for m in r]
    assert [(point.labels["nodes"], m.labels["size"], m.labels["tasks"]) for point, m in found] == [
        (str(n), size, str(n)) for n in range(1, 12) for size in ("10000", "100000", "1000000")
    ]
    assert all(" -F " in command(m) for _, m in found)
    assert found[-1][1].labels["nodes"] == "fta[01-11]"


def test_tasks_share_their_nodes_memory() -> None:
    first = measured(BED, tasks_per_node=4)[0]
    argv = first.tasks[-1].argv
    assert argv[argv.index("-b") + 1] == str(1 << 29)
    assert argv[argv.index("-np") + 1] == "8"
    # The unit of -Q is nodes, since 3.2: more would lead back to the node itself.
    assert argv[argv.index("-Q") + 1] == "1"
    assert "client1:4,client2:4" in argv
    assert "--host client1:1,client2:1 -np 2 sh -c" in command(first, "drop")


def test_what_does_not_fit_is_refused_before_it_runs() -> None:
    full = [replace(n, facts={**n.facts, "mounts": MOUNTED.replace("8388608", "2097152")}) for n in BED]
    with pytest.raises(WorkloadError, match=r"4GiB do not fit into the 2048MiB") as caught:
        measured(full)
    assert "--set block=972MiB" in caught.value.hint
    assert measured(full, block="972MiB")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS.replace("program /usr/local/bin/ior\n", ""), "client1 has no ior"),
        (FACTS.replace("mpirun openmpi", "x openmpi"), "client1 has no mpirun"),
        (FACTS.replace("MemTotal", "MemFree"), "do not tell their memory"),
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


def asked(measurement: Measurement) -> Options:
    """The options that make its command line."""
    argv = measurement.tasks[0].argv
    operations = [name for flag, name in (("-w", "write"), ("-r", "read")) if flag in argv]
    wall = int(argv[argv.index("-D") + 1]) if "-D" in argv else None
    return Options.model_validate({"operations": operations, "stonewall_s": wall})


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    options = asked(measurement)
    samples = IOR.parse(options, measurement, {"ior": output})
    rows = [{"metric": s.metric.name, "value": s.value, "operation": s.labels["operation"]} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
    assert IOR.sanity(options, measurement, {"ior": output}, samples) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match="IOR's report is cut off"):
        IOR.parse(Options(), measurement, {"ior": output})


MOVED = {
    "stonewall-write-ior-3.2.1": "write was ended by its stonewall of 1 s: 30.625 of 16384 MiB",
    "stonewall-shared-read-ior-3.2.1": "read was ended by its stonewall of 1 s: 226.438 of 16384 MiB",
    "stonewall-write-ior-3.3.0": "write was ended by its stonewall of 1 s: 649.375 of 16384 MiB",
    "stonewall-read-ior-3.3.0": "read was ended by its stonewall of 1 s: 340.188 of 16384 MiB",
    "stonewall-mpiio-write-ior-4.0.0": "write was ended by its stonewall of 1 s: 1044.62 of 16384 MiB",
    "stonewall-mpiio-write-ior-4.1.0": "write was ended by its stonewall of 1 s: 1552.12 of 16384 MiB",
    "stonewall-mpiio-read-ior-4.1.0": "read was ended by its stonewall of 1 s: 1552.12 of 16384 MiB",
}


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_a_run_that_a_stonewall_ended_says_so(path: Path) -> None:
    measurement, output = read(path)
    told = [MOVED[path.stem]] if path.stem in MOVED else []
    assert list(IOR.notes(asked(measurement), measurement, {"ior": output})) == told
    assert MOVED.keys() <= {path.stem for path in kind("good")}


@pytest.mark.parametrize("path", [*kind("truncated"), *kind("failed")], ids=lambda path: path.stem)
def test_notes_of_what_cannot_be_read_are_none(path: Path) -> None:
    measurement, output = read(path)
    assert IOR.notes(Options(stonewall_s=1), measurement, {"ior": output}) == ()


def test_under_a_stonewall_a_file_may_be_short_but_not_shorter_than_what_was_written() -> None:
    sizes = (
        "WARNING: Expected aggregate file size       = 8388608\n"
        "WARNING: Stat() of aggregate file size      = {}\n"
        "WARNING: Using actual aggregate bytes moved = 2097152\n"
        "WARNING: {}aybe caused by deadlineForStonewalling\n"
    )

    def problems(stat: int) -> tuple[str, ...]:
        outputs = {"ior": Output(0, sizes.format(stat, "M"), "", 1.0)}
        return IOR.sanity(Options(stonewall_s=1), Measurement(name="m", labels={}), outputs, ())

    assert problems(2097152) == ()
    assert problems(4194304) == ()
    assert problems(1048576) == ("the file system says that 1048576 bytes were written: 2097152 were",)


SAID = {
    "no-api": "this IOR was built without the api that is asked for",
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
        "data read back are not what was written: data differs at 0",
        "only 16 of 32 MiB were moved by write",
    )


WRONG = {
    "corrupt-ior-3.3.0": "data read back are not what was written: incorrect data on read (1 errors found) "
    "(data/data.00000000 from byte 100000)",
    "corrupt-ior-4.0.0": "data read back are not what was written: Incorrect data on read (1 errors found)",
    "corrupt-shared-ior-3.2.1": "data read back are not what was written: incorrect data on read (1 errors found) "
    "(/mnt/lustre/vmlab-ior/data from byte 100000)",
    "corrupt-shared-ior-4.1.0": "data read back are not what was written: Incorrect data on read (1 errors found)",
    "fsync-ior-3.3.0": "fsync(29) failed, errno 28, No space left on device (and 1 more like it)",
    "fsync-ior-4.0.0": "fsync(29) failed (and 1 more like it)",
}


@pytest.mark.parametrize("path", kind("wrong"), ids=lambda path: path.stem)
def test_what_the_file_system_did_wrong_is_named_and_the_figures_are_read(path: Path) -> None:
    measurement, output = read(path)
    options = Options.model_validate({"operations": ["read"]})
    samples = IOR.parse(options, measurement, {"ior": output})
    assert [s.value for s in samples if s.metric.name == "bandwidth"]
    assert IOR.sanity(options, measurement, {"ior": output}, samples) == (WRONG[path.stem],)
    assert IOR.sanity(options, measurement, {"ior": output}, ()) == (WRONG[path.stem],)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # 3.2 and 3.3: src/iordef.h, ior.c, aiori-POSIX.c
        (
            "ior ERROR: read() returned EOF prematurely, errno 0, Success (aiori-POSIX.c:463)",
            "returned EOF prematurely",
        ),
        ("ior ERROR: data check error, aborting execution, errno 0, Success (ior.c:422)", "data check error"),
        ("ior WARNING: overflow in errors counted.", "overflow in errors counted"),
        ("WARNING: incorrect data on write (12 errors found).", "incorrect data on write (12 errors found)"),
        ("ior ERROR: write() failed, errno 5, Input/output error (aiori-POSIX.c:451)", "write() failed, errno 5"),
        ("ior WARNING: inconsistent file size by different tasks.", "do not see the same size"),
        (
            (
                "WARNING: Expected aggregate file size       = 8388608.\n"
                "WARNING: Stat() of aggregate file size      = 4194304.\n"
                "WARNING: Using actual aggregate bytes moved = 8388608.\n"
            ),
            "the file system says that 4194304 bytes were written: 8388608 were",
        ),
        ("[1] FAILED comparison of buffer containing 8-byte ints:", "not what was written"),
        # 4.0 and later: src/aiori-debug.h, ior.c, aiori-POSIX.c
        ("WARNING: write(8, 0x7f00, 1048576) failed Input/output error", "write(8, 0x7f00, 1048576) failed Input"),
        ("WARNING: read(8, 0x7f00, 1048576) returned EOF prematurely", "not what was written"),
        ("WARNING: task 0, partial write(), 4096 of 8192 bytes at offset 0\n", "partial write(), 4096 of 8192"),
        ('WARNING: [RANK 000]: unlink() of file "/mnt/lustre/d" failed', "unlink() of file"),
    ],
)
def test_words_of_all_versions_for_what_went_wrong(text: str, problem: str) -> None:
    outputs = {"ior-read.3": Output(0, f"{{\n{text}\n", "", 1.0)}
    [said] = IOR.sanity(Options(), Measurement(name="m", labels={}), outputs, ())
    assert problem in said


@pytest.mark.parametrize(
    "text",
    [
        'WARNING: The file "/mnt/lustre/data" exists already and will be overwritten',
        "ior WARNING: fsync() not supported in selected backend.  Using value of 0.",
        "WARNING: There was an error initializing an OpenFabrics device.",
        "ior WARNING: cannot use O_DIRECT.",
        "WARNING: Backend returned error during statfs",
        "ior ERROR: open64() failed, errno 28, No space left on device (aiori-POSIX.c:295)",
    ],
)
def test_what_is_not_the_file_systems_doing_is_no_problem(text: str) -> None:
    outputs = {"ior": Output(0, f"{text}\n", text, 1.0)}
    assert IOR.sanity(Options(), Measurement(name="m", labels={}), outputs, ()) == ()


@pytest.mark.parametrize(
    "noise",
    [
        "WARNING: fsync(29) failed\n",
        "ior WARNING: fsync(29) failed, errno 28, No space left on device \n",
        "[1] FAILED comparison of buffer containing 8-byte ints:\n",
        "Used Time Stamp 1234 (0x4d2) for Data Signature\n",
        "[client1:812] 1 more process has sent help message help-mpi-btl-base.txt / btl:no-nics\n",
    ],
)
@given(where=st.floats(0, 1))
def test_complaints_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    lines = (CASES / "good/shared-check-i3-ior-3.2.0.txt").read_text().splitlines(keepends=True)[1:-1]
    place = 1 + int(where * (len(lines) - 1))
    text = "".join([*lines[:place], noise, *lines[place:]])
    assert parsed(text)["bandwidth"] == 200.8889
    assert parsed(text, operations=["read"])["bandwidth"] == 187.0646


def test_warnings_may_stand_in_a_line() -> None:
    text = REPORT.replace("10.0", "ior WARNING: fsync(29) failed, errno 28, No space left on device \n10.0")
    assert parsed(text)["bandwidth"] == 10


def repeated(*figures: float, dropped: str = "dropped client1", nodes: str = "client1") -> tuple[Measurement, Outputs]:
    report = '{{"summary": [{{"operation": "{}", "bwMeanMIB": {}, "bwMaxMIB": {}, "bwMinMIB": {}, "xsizeMiB": 16.0}}]}}'
    outputs = {}
    for number, value in enumerate(figures):
        outputs[f"ior-write.{number}"] = Output(0, report.format("write", *[value] * 3), "", 1.0)
        outputs[f"drop.{number}"] = Output(0, f"{dropped}\n", "", 1.0)
        outputs[f"ior-read.{number}"] = Output(0, report.format("read", *[2 * value] * 3), "", 1.0)
    return Measurement(name="m", labels={"nodes": nodes}), outputs


def test_repetitions_are_put_together() -> None:
    options = Options.model_validate({"repetitions": 2})
    samples = IOR.parse(options, *repeated(10, 30))
    assert {(s.labels["operation"], s.metric.name): s.value for s in samples} == {
        ("write", "bandwidth"): 20,
        ("write", "bandwidth_max"): 30,
        ("write", "bandwidth_min"): 10,
        ("read", "bandwidth"): 40,
        ("read", "bandwidth_max"): 60,
        ("read", "bandwidth_min"): 20,
    }
    assert not any("cache" in s.labels for s in samples)
    assert IOR.notes(options, *repeated(10, 30)) == ()


@pytest.mark.parametrize(
    ("dropped", "why"),
    [("kept client1 there is no lctl to give up its locks", "there is no lctl"), ("", "were not dropped")],
)
def test_what_was_read_with_caches_kept_is_marked(dropped: str, why: str) -> None:
    options = Options.model_validate({"check": True})
    case = repeated(10, dropped=dropped)
    marked = {(s.labels["operation"], s.labels.get("cache")) for s in IOR.parse(options, *case)}
    assert marked == {("write", None), ("read", "client")}
    [note] = IOR.notes(options, *case)
    assert note.startswith("read figures and `check`: of the client's own cache, not of the servers")
    assert why in note
    # Each reads what another one wrote.
    assert IOR.notes(options, *repeated(10, dropped=dropped, nodes="client[1-2]")) == ()


def test_dropping_says_what_it_did(tmp_path: Path) -> None:
    """On a file system of this machine; as root it can drop caches, else it says that it cannot."""
    argv = next(t.argv for t in measured(BED)[0].tasks if t.name == "drop")
    script = argv[argv.index("sh") :]
    said = process.run([*script[:-1], str(tmp_path)], deadline_s=60).stdout
    host = os.uname().nodename
    assert re.fullmatch(rf"(dropped {host}|kept {host} drop_caches cannot be written)\n", said)
    tools = tmp_path / "tools"
    tools.mkdir()

    def lustre(lctl: str) -> str:
        for name, text in {"stat": "echo lustre", "lctl": lctl, "sync": ":"}.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        env = {"PATH": f"{tools}:{os.environ['PATH']}"}
        return process.run([*script[:-1], str(tmp_path)], deadline_s=60, env=env).stdout

    if "dropped" in said:
        cached = "case $1 in set_param) exit {} ;; get_param) {} ;; esac"
        used = "printf 'users: 5\\nmax_cached_mb: 7765\\nused_mb: {}\\n'"
        assert lustre(cached.format(0, used.format(0))) == f"dropped {host}\n"
        assert lustre(cached.format(1, used.format(0))) == f"dropped {host}\n"
        assert lustre(cached.format(0, used.format(512))) == f"kept {host} 512 MiB stay in its cache\n"
        assert lustre(cached.format(1, ":")) == f"kept {host} lctl cannot give up its locks\n"


WHOLE = [path.read_text() for path in (*kind("good"), *kind("wrong"))]


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


def test_the_clients_of_each_host_and_then_all() -> None:
    over = [replace(one, host=f"kvm{number}") for number, one in enumerate(BED)]
    found = [(m.labels["nodes"], m.labels.get("host")) for m in measured(over, by_host=True, file_per_process=True)]
    assert found == [("client1", "kvm1"), ("client2", "kvm2"), ("client[1-2]", "all")]
    assert len({m.name for m in measured(over, by_host=True)}) == 6
    for bed, options in ((over, {}), ([replace(one, host="kvm1") for one in BED], {"by_host": True})):
        (only,) = measured(bed, file_per_process=True, **options)
        assert "host" not in only.labels
