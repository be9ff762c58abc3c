"""iozone's command lines, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

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
from sshd import Sshd, UsersSsh

from vmlab.errors import WorkloadError
from vmlab.guest.keys import BedKeys
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Native, Node, Output
from vmlab.workloads.iozone import Iozone, Options

CASES = Path(__file__).parents[2] / "cases" / "iozone"
IOZONE = Iozone()


def node(name: str, number: int, *roles: str, **facts: str) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    known = {"iozone": "/opt/iozone\n", "memory": "MemTotal: 1048576 kB\n", "mounts": "8388608 /mnt/lustre\n"}
    return Node(name, roles, (place,), known | facts)


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node] = BED, **options: object) -> list[Measurement]:
    settings = {"processes": [3], "direct": True, **options}
    return [m for r in IOZONE.measurements(Options.model_validate(settings), bed) for m in r]


def test_processes_are_on_one_node_after_the_other_and_share_the_total() -> None:
    [found] = measured(total="100MiB", records=["64KiB"])
    prepare, task, remove = found.commands
    assert shlex.join(task.argv) == (
        "env 'RSH=sh shell' /opt/iozone -i 0 -i 1 -i 2 -+n -I -c -e -w -r 64k -s 34176k -t 3 -+m nodes -+h client1"
    )
    assert 34176 * 3 >= 100 << 10 > (34176 - 64) * 3
    assert task.files["nodes"] == (
        "client1 /mnt/lustre/vmlab-iozone /opt/iozone\n"
        "client2 /mnt/lustre/vmlab-iozone /opt/iozone\n"
        "client1 /mnt/lustre/vmlab-iozone /opt/iozone\n"
    )
    assert prepare.argv[-3:] == ("/mnt/lustre/vmlab-iozone", "client1", "client2")
    assert remove.argv == ("rm", "-rf", "/mnt/lustre/vmlab-iozone")
    assert found.labels == {"nodes": "client[1-2]", "processes": "3", "size": "65536", "direct": "true"}
    assert IOZONE.takes_part(Options(), BED) == ("client1", "client2")


def test_by_default_twice_the_memory_and_powers_of_two_with_and_without_direct_io() -> None:
    found = measured(direct=None, processes=Options().processes, records=["1MiB", "4KiB"])
    assert [m.labels["processes"] for m in found[:10]] == [str(2**n) for n in range(10)]
    assert len(found) == 10 * 2 * 2
    assert " -s 4194304k -t 1 " in shlex.join(found[0].commands[1].argv)
    cached = [m for m in found if m.labels["direct"] == "false"]
    assert len(cached) == 20
    assert all("-I" not in m.commands[1].argv for m in cached)


def test_transfers_instead_of_bytes_and_all_a_second_time() -> None:
    argv = measured(operations=True, again=True)[0].commands[1].argv
    assert "-O" in argv
    assert "-+n" not in argv


def test_on_the_host_all_processes_are_the_masters_own() -> None:
    host = [replace(n, where="host", cpus=(number,)) for number, n in enumerate(BED[1:])]
    options = IOZONE.on_host(Options(processes=(2,), direct=True, total="8MiB"), Native(mount="/mnt/host"))  # type: ignore[arg-type]
    [[found]] = IOZONE.measurements(options, host)
    argv = shlex.join(found.commands[1].argv)
    assert argv.startswith("taskset -c 0-1 /opt/iozone ")
    assert argv.endswith(" -t 2 -F /mnt/host/vmlab-iozone/0 /mnt/host/vmlab-iozone/1")
    assert found.commands[0].argv[-1] == "/mnt/host/vmlab-iozone"


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="client2 has no iozone"):
        measured([*BED[:2], node("client2", 2, "client", iozone="")])
    with pytest.raises(WorkloadError, match=r"9GiB do not fit into the 8192MiB") as caught:
        measured(total="9GiB")
    assert caught.value.hint == "--set total=7782MiB"
    with pytest.raises(WorkloadError, match="do not tell their memory"):
        measured([*BED[:2], node("client2", 2, "client", memory="")])
    with pytest.raises(ValidationError, match="no multiple of 1KiB"):
        Options(records=("10KB", "1KB"))  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Options(processes=(2000,))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that comes back to this machine, unless it is to reach `gone`."""
    (tmp_path / "ssh").write_text('#!/bin/sh\n[ "$4" != gone ] || exit 255\nexec sh -c "$5"\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_a_node_that_cannot_be_asked_is_told_before_iozone_waits_for_it(place: Path) -> None:
    prepare = measured()[0].commands[0].argv[:4]
    folder = str(place / "new")
    assert process.run((*prepare, folder, "here"), deadline_s=30).ok
    result = process.run((*prepare, folder, "here", "gone"), deadline_s=30)
    assert not result.ok
    assert IOZONE.explain(Output(1, "", result.stderr, 1.0)) == f"gone cannot be asked, or has no {folder}"


def test_its_remote_shell_logs_in_once_and_carries_the_runs_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real sshd. What keeps the connection open holds none of the shell's own output."""
    keys = BedKeys.fresh(tmp_path / "ha")
    keys.write(["oss1"])
    sshd = Sshd(tmp_path / "sshd", keys)
    users = UsersSsh(tmp_path / "users", keys, monkeypatch)
    users.configure(f"Port {sshd.port}")
    users.know(sshd.port, keys.host_key("oss1").public)
    monkeypatch.chdir(tmp_path)
    Path("shell").write_text(str(measured()[0].commands[1].files["shell"]))
    mark = "run 1/x"
    argv = ("env", f"VMLAB_RUN={mark}", "sh", "shell", "127.0.0.1", "-n", "env -u PWD printenv VMLAB_RUN ")
    sshd.start()
    try:
        for _ in range(3):
            assert process.run(argv, deadline_s=30).stdout == f"{mark}\n"
        log = (tmp_path / "sshd" / "log").read_text()
        assert log.count("Accepted publickey") == 1
        # More than sshd takes on a connection (MaxSessions) log in by themselves.
        one = shlex.join((*argv[:-1], "sh -c 'sleep 1; echo done'"))
        many = f"for i in $(seq 12); do {one} & done; wait"
        assert process.run(("sh", "-c", many), deadline_s=60).stdout == "done\n" * 12
    finally:
        process.run(("ssh", "-o", "ControlPath=.ssh-%n", "-O", "exit", "127.0.0.1"), deadline_s=30)
        sshd.stop()


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> Output:
    body, footer = path.read_text().partition("\n")[2].rsplit("# rc=", 1)
    return Output(int(re.match(r"\d+", footer)[0]), body, "", 10.0)  # type: ignore[index]


def good(name: str) -> str:
    return read(CASES / "good" / f"{name}-iozone-3.471.txt").stdout


CASE = Measurement(name="m", labels={})
Figures = dict[tuple[str, str], float]


def figures(text: str, stderr: str = "", **labels: str) -> Figures:
    found = IOZONE.parse(Options(), Measurement(name="m", labels=labels), {"iozone": Output(0, text, stderr, 1.0)})
    return {(sample.labels["operation"], sample.metric.name): sample.value for sample in found}


def notes(text: str) -> tuple[str, ...]:
    return IOZONE.notes(Options(), CASE, {"iozone": Output(0, text, "", 1.0)})


def problems(text: str) -> tuple[str, ...]:
    return IOZONE.sanity(Options(), CASE, {"iozone": Output(0, text, "", 1.0)}, ())


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-iozone-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    output = read(path)
    samples = IOZONE.parse(Options(), CASE, {"iozone": output})
    told = [{"metric": s.metric.name, "unit": s.metric.unit, "value": round(s.value, 6), **s.labels} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert problems(output.stdout) == ()


def test_children_and_parent_are_told_apart_and_kilobytes_are_of_1024_bytes() -> None:
    found = figures(good("threads"))
    assert found["write", "bandwidth"] == 2613780.25 / 1024
    assert found["write", "bandwidth_elapsed"] == 522839.12 / 1024
    assert found["reread", "bandwidth"] == 9557992.50 / 1024
    assert found["random_write", "bandwidth_slowest"] == 3191790.00 / 1024
    assert not any(metric.endswith("_elapsed") for _, metric in figures(good("cluster")))
    assert figures(good("threads").replace("kB/sec", "KB/sec").replace(" kB\n", " KB\n")) == found


def test_a_process_that_came_too_late_is_told() -> None:
    [note] = notes(good("threads"))
    assert note == ("write, rewrite, read, reread, random_read: a process had moved nothing when the first was through")
    assert notes(good("cluster")) == ()
    cached = Measurement(name="m", labels={"direct": "false"})
    outputs = {"iozone": Output(0, good("cluster"), "", 1.0)}
    assert IOZONE.notes(Options(total="1GiB"), cached, outputs) == ("what is read may come from the nodes' own caches",)  # type: ignore[arg-type]
    assert IOZONE.notes(Options(), cached, outputs) == ()


def test_transfers_are_no_bytes() -> None:
    found = figures(good("cluster-ops-mixed"))
    assert found["write", "rate"] == 10330.57
    assert found["mixed", "rate"] == 63466.61
    assert {metric for _, metric in found} == {"rate", "rate_slowest", "rate_fastest"}


def test_as_many_processes_as_were_asked_for() -> None:
    assert figures(good("cluster"), processes="2") == figures(good("cluster"))
    with pytest.raises(WorkloadError, match="iozone measured 2 of 4 processes"):
        figures(good("cluster"), processes="4")


SAID = {
    "file-size-limit": "Error writing block 3, fd= 3$",
    "full": "write: No space left on device|Error writing block 16",
    "too-few-nodes": "printed no table",
    "record-larger-than-file": "moved nothing",
    "client-error": "Client # 1 reporting an error No such file or directory",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed_whatever_the_status(path: Path) -> None:
    with pytest.raises(WorkloadError, match=SAID[re.sub(r"-iozone-[0-9.]+$", "", path.stem)]):
        figures(read(path).stdout)
    assert problems(read(path).stdout) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"iozone's report is cut off|printed no table"):
        figures(read(path).stdout)


def test_a_lost_server_and_wrong_data_are_the_file_systems_fault() -> None:
    lost = good("cluster").replace(
        "Test running:\n", "Test running:\nClient # 1 reporting an error Input/output error !\n"
    )
    assert problems(lost) == ("Client # 1 reporting an error Input/output error",)
    with pytest.raises(WorkloadError, match="Input/output error"):
        figures(lost)
    wrong = good("threads").replace("\tChildren", "Error in file: Found ?0? Expecting ?aaaa? addr 7f\n\tChildren", 1)
    assert problems(wrong) == ("data read back are not what was written",)
    with pytest.raises(WorkloadError, match="wrong data"):
        figures(wrong)


def test_what_was_asked_for_and_is_not_there() -> None:
    text = good("cluster")
    without = re.sub(r"\tChildren see throughput for  2 readers(?:.*\n){5}", "", text)
    with pytest.raises(WorkloadError, match="was to measure read, and did not"):
        figures(without)
    doubled = text.replace(" 2 readers \t", " 2 re-readers \t").replace("-i 1", "")
    with pytest.raises(WorkloadError, match="several tables of the same name"):
        figures(doubled)
    with pytest.raises(WorkloadError, match="unknown unit or test"):
        figures(text.replace("kB", "ms"))
    with pytest.raises(WorkloadError, match="unknown unit or test"):
        figures(
            text.replace("Max throughput per process \t\t\t=  347828.34 kB", "Max throughput per process = 3.00 ops")
        )
    with pytest.raises(WorkloadError, match="unknown unit or test"):
        figures(text.replace("random writers", "mad writers"))


@pytest.mark.parametrize("figure", ["nan", "inf", "-nan", "-1.00", "690850,78", "1e9", "6.9", "9" * 400])
def test_a_figure_that_is_none(figure: str) -> None:
    for old in ("690850.78", "343022.44", "347828.34"):
        with pytest.raises(WorkloadError, match="is no number"):
            figures(good("cluster").replace(old, figure))


def test_zero_is_no_figure() -> None:
    with pytest.raises(WorkloadError, match="moved nothing"):
        figures(good("cluster").replace("690850.78", "0.00"))
    with pytest.raises(WorkloadError, match="moved nothing"):
        figures(good("cluster").replace("347828.34", "0.00"))
    assert figures(good("cluster").replace("343022.44", "0.00"))["write", "bandwidth_slowest"] == 0


@pytest.mark.parametrize("noise", ["\n", "ssh: warning\n", "Warning: Permanently added 'client2' to known hosts.\n"])
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    lines = good("threads").splitlines(keepends=True)
    place = int(where * len(lines))
    assert figures("".join([*lines[:place], noise.replace("ssh: ", "s: "), *lines[place:]])) == figures("".join(lines))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@given(share=st.floats(0, 1))
def test_what_is_cut_has_all_figures_or_none(path: Path, share: float) -> None:
    text = read(path).stdout
    try:
        found = figures(text[: int(share * len(text))])
    except WorkloadError:
        return
    assert found == figures(text)


WHOLE = [read(path).stdout for path in (*kind("good"), *kind("failed"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 4500)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    outputs = {"iozone": Output(0, text, "", 1.0)}
    try:
        samples = IOZONE.parse(Options(), CASE, outputs)
    except WorkloadError:
        samples = ()
    assert all(0 <= sample.value < float("inf") for sample in samples)
    IOZONE.sanity(Options(), CASE, outputs, samples)
    IOZONE.notes(Options(), CASE, outputs)
    assert IOZONE.explain(outputs["iozone"])
