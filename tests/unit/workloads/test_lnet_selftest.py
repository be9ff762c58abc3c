"""Who tests whom, the session's script, and recorded output: `$ COMMANDS`, what they printed, `# rc=STATUS`."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import UsageError, WorkloadError
from vmlab.metrics import Sample
from vmlab.workloads import Endpoint, Measurement, Node, Output
from vmlab.workloads._options import points
from vmlab.workloads.lnet_selftest import LnetSelftest, Options, _rows

CASES = Path(__file__).parents[2] / "cases"
LST = LnetSelftest()


def node(name: str, number: int, *roles: str, nets: tuple[str, ...] = ("o2ib",), module: bool = True) -> Node:
    nids = [f"10.77.{place}.{number}@{net}" for place, net in enumerate(nets, start=1)]
    facts = {"nids": "\n".join([*(["lnet_selftest"] if module else []), *nids]) + "\n"}
    return Node(name, roles, (Endpoint("ib0", "infiniband", IPv4Address(f"10.77.1.{number}"), "ib0"),), facts)


HA = [node("mds1", 2, "mds"), node("oss1", 3, "oss"), node("oss2", 4, "oss"), node("client1", 1, "client")]


def groups(nodes: list[Node], **options: object) -> tuple[str, str]:
    chosen = Options.model_validate(options)
    [[measurement], *_] = LST.measurements(chosen, nodes)
    argv = measurement.tasks[0].argv
    place = argv.index("vmlab_read")
    assert argv[place + 5] == "c"
    return argv[place + 7], argv[place + 1]


def test_clients_ask_servers_by_default() -> None:
    assert groups(HA) == ("10.77.1.1@o2ib", "10.77.1.2@o2ib 10.77.1.3@o2ib 10.77.1.4@o2ib")
    assert set(LST.takes_part(Options(), HA)) == {"mds1", "oss1", "oss2", "client1"}


def test_chosen_nodes() -> None:
    assert groups(HA, **{"from": "client1", "to": "oss[1-2]"}) == ("10.77.1.1@o2ib", "10.77.1.3@o2ib 10.77.1.4@o2ib")
    assert groups(HA, **{"from": "oss1", "to": "oss2"}) == ("10.77.1.3@o2ib", "10.77.1.4@o2ib")
    with pytest.raises(UsageError, match="no node 'oss3'"):
        groups(HA, to="oss3")
    with pytest.raises(WorkloadError, match="oss1 cannot be on both sides"):
        groups(HA, **{"from": "oss[1-2]", "to": "oss1"})


def test_where_all_nodes_are_everything_the_first_asks_the_others() -> None:
    same = [node(f"bb{i}", i, "mds", "oss", "client") for i in (1, 2, 3)]
    assert groups(same) == ("10.77.1.1@o2ib", "10.77.1.2@o2ib 10.77.1.3@o2ib")
    with pytest.raises(WorkloadError, match="two nodes are needed"):
        groups(same[:1])


def test_a_network_that_all_are_on_is_preferred() -> None:
    far = [node("client1", 1, "client", nets=("tcp", "o2ib")), node("oss1", 2, "oss", nets=("o2ib",))]
    assert groups(far) == ("10.77.2.1@o2ib", "10.77.1.2@o2ib")
    routed = [node("client1", 1, "client", nets=("o2ib1",)), node("oss1", 2, "oss", nets=("o2ib",))]
    assert groups(routed) == ("10.77.1.1@o2ib1", "10.77.1.2@o2ib")
    both = [node("client1", 1, "client", nets=("tcp", "o2ib")), node("oss1", 2, "oss", nets=("tcp", "o2ib"))]
    assert groups(both, net="o2ib0") == ("10.77.2.1@o2ib", "10.77.2.2@o2ib")
    with pytest.raises(WorkloadError, match=r"client1 is not on tcp9 \(it is on tcp, o2ib\)"):
        groups(both, net="tcp9")


def test_a_node_without_the_module_is_named() -> None:
    with pytest.raises(WorkloadError, match="oss2 cannot load the module lnet_selftest"):
        groups([*HA[:2], node("oss2", 4, "oss", module=False), HA[3]])
    with pytest.raises(WorkloadError, match="LNet on oss2 has no network"):
        groups([*HA[:2], node("oss2", 4, "oss", nets=()), HA[3]])


def test_the_sizes_are_those_of_the_topology_page() -> None:
    written = {"from": "client1", "to": "oss[1-2]", "size": "1MiB", "concurrency": 8}
    [[read], [write], [ping]] = LST.measurements(Options.model_validate(written), HA)
    assert read.tasks[0].argv[-3:] == ("brw", "read", "size=1M")
    assert write.labels == {"from": "client1", "to": "oss[1-2]", "test": "write", "concurrency": "8", "size": "1048576"}
    assert ping.tasks[0].argv[-1] == "ping"
    assert "size" not in ping.labels
    [[odd]] = LST.measurements(Options.model_validate({"tests": ["read"], "size": "65537B", "check": "full"}), HA)
    assert odd.tasks[0].argv[-4:] == ("brw", "read", "check=full", "size=65537")
    assert read.tasks[0].deadline_s > 130


# --- the script, run by a real shell with a stand-in for lst that writes down how it is called


def session(tmp_path: Path, lst: str, bed: list[Node] = HA) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    log = tmp_path / "calls"
    log.touch()
    tool = tmp_path / "lst"
    tool.write_text(f'#!/bin/sh\necho "$LST_SESSION $*" >>{log}\n{lst}\n')
    tool.chmod(0o755)
    [[measurement]] = LST.measurements(
        Options.model_validate({"tests": ["read"], "timeout_s": 1, "duration_s": 2}), bed
    )
    path = f"{tmp_path}:/usr/bin:/bin"
    argv = measurement.tasks[0].argv
    done = subprocess.run(argv, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60)
    return done, log.read_text().splitlines()


def test_a_session(tmp_path: Path) -> None:
    done, calls = session(tmp_path, "")
    assert done.returncode == 0
    assert len({call.split()[0] for call in calls}) == 1  # one LST_SESSION
    assert [call.partition(" ")[2] for call in calls] == [
        "new_session --force vmlab_read",
        "add_group c 10.77.1.1@o2ib",
        "add_group s 10.77.1.2@o2ib 10.77.1.3@o2ib 10.77.1.4@o2ib",
        "add_batch b",
        "add_test --batch b --concurrency 8 --distribute 1:3 --from c --to s brw read size=1M",
        "run b",
        "stat --count 1 --delay 2 c s",
        "show_error c s",
        "stop b",
        "end_session",
    ]


FOUR = [node(f"oss{i}", 10 + i, "oss") for i in range(1, 5)] + [
    node(name, 20 + i, "client", nets=("o2ib",) if name.startswith("client") else ("o2ib1",))
    for i, name in enumerate(("client1", "client2", "cn1", "cn2"), start=1)
]


MIXED = [replace(node, where="bare" if node.name.startswith("cn") else "vm") for node in FOUR]


def test_four_and_four_in_one_session(tmp_path: Path) -> None:
    done, calls = session(tmp_path, "", FOUR)
    assert done.returncode == 0
    assert sum("new_session" in call for call in calls) == 1
    [test] = [call for call in calls if "add_test" in call]
    assert "--distribute 4:4 --from c --to s brw read" in test


def test_machines_beside_guests_are_a_group_of_their_own_in_the_same_session(tmp_path: Path) -> None:
    done, calls = session(tmp_path, "", MIXED)
    assert done.returncode == 0
    assert [call.partition(" ")[2] for call in calls] == [
        "new_session --force vmlab_read",
        "add_group c_vm 10.77.1.21@o2ib 10.77.1.22@o2ib",
        "add_group c_bare 10.77.1.23@o2ib1 10.77.1.24@o2ib1",
        "add_group s 10.77.1.11@o2ib 10.77.1.12@o2ib 10.77.1.13@o2ib 10.77.1.14@o2ib",
        "add_batch b",
        "add_test --batch b --concurrency 8 --distribute 2:4 --from c_vm --to s brw read size=1M",
        "add_test --batch b --concurrency 8 --distribute 2:4 --from c_bare --to s brw read size=1M",
        "run b",
        "stat --count 1 --delay 2 c_vm c_bare s",
        "show_error c_vm c_bare s",
        "stop b",
        "end_session",
    ]
    _, failed = session(tmp_path, '[ "$1 $9" = "add_test c_bare" ] && exit 1; exit 0', MIXED)
    assert failed[-1].endswith("end_session")
    assert not any(" run b" in call for call in failed[len(calls) :])


def report(**groups: tuple[float, float]) -> str:
    """What `lst stat` prints of groups, by their average and least."""
    line = "[{0}] Avg: {1:<8.2f} {3} Min: {2:<8.2f} {3} Max: {1:<8.2f} {3} \n"
    return "".join(
        f"[LNet {kind} of {name}]\n" + "".join(line.format(direction, *figures, unit) for direction in "RW")
        for name, figures in groups.items()
        for kind, unit in (("Rates", "RPC/s"), ("Bandwidth", "MiB/s"))
    )


def test_figures_of_each_kind_and_of_all() -> None:
    [[measurement]] = LST.measurements(Options.model_validate({"tests": ["read"], "duration_s": 2}), MIXED)
    assert {name: measurement.labels[name] for name in ("from", "vm", "bare")} == {
        "from": "client[1-2],cn[1-2]", "vm": "client[1-2]", "bare": "cn[1-2]",
    }  # fmt: skip
    text = report(c_vm=(100, 90), c_bare=(200, 50), s=(150, 140)) + "Batch is stopped\n"
    outputs = {"lst": Output(0, text + "Total 1 error nodes in c_bare\n", "", 1.0)}
    samples = LST.parse(Options(), measurement, outputs)
    found = {
        (s.metric.name, s.labels["group"], s.labels["on"]): s.value
        for s in samples
        if s.metric.name.startswith("bandwidth")
    }
    assert found == {
        ("bandwidth", "from", "bare+vm"): 600, ("bandwidth_slowest", "from", "bare+vm"): 50,
        ("bandwidth", "from", "vm"): 200, ("bandwidth_slowest", "from", "vm"): 90,
        ("bandwidth", "from", "bare"): 400, ("bandwidth_slowest", "from", "bare"): 50,
        ("bandwidth", "to", "bare+vm"): 600, ("bandwidth_slowest", "to", "bare+vm"): 140,
    }  # fmt: skip
    assert LST.sanity(Options(), measurement, outputs, samples) == ("1 nodes of the group `from (bare)` had errors",)
    without = {"lst": Output(0, report(c_vm=(100, 90), s=(150, 140)) + "Batch is stopped\n", "", 1.0)}
    with pytest.raises(WorkloadError, match=r"no bandwidth of the group `from \(bare\)`"):
        LST.parse(Options(), measurement, without)


def test_concurrency_and_size_are_swept() -> None:
    swept = {"size": ["4KiB", "1MiB"], "concurrency": [1, 8, 64], "tests": ["read"]}
    found = [LST.measurements(point.options, MIXED)[0][0].labels for point in points(LST, swept)]
    assert [(labels["size"], labels["concurrency"]) for labels in found] == [
        (size, concurrency) for size in ("4096", "1048576") for concurrency in ("1", "8", "64")
    ]


def test_a_node_that_does_not_answer_ends_the_session_at_once(tmp_path: Path) -> None:
    said = "create session RPC failed on 0-200@<0:19722>: Unknown error -113"
    done, calls = session(tmp_path, f'[ "$1 $2" = "add_group s" ] && echo "{said}"; exit 0')
    assert done.returncode == 1
    assert said in done.stdout
    assert not any(" run b" in call for call in calls)
    assert calls[-1].endswith("end_session")
    assert LST.explain(Output(1, done.stdout, "", 1.0)).startswith("a node does not answer lst (errno 113)")


def test_a_session_that_hangs_is_ended_by_another_process(tmp_path: Path) -> None:
    done, calls = session(tmp_path, '[ "$1" = stat ] && sleep 50; exit 0')
    assert done.returncode == 124
    assert [call.split()[1] for call in calls[-2:]] == ["stat", "end_session"]
    assert len({call.split()[0] for call in calls}) == 1


# --- recorded output


def kind(name: str) -> list[Path]:
    return sorted((CASES / "lnet_selftest" / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    body, footer = path.read_text().rsplit("# rc=", 1)
    test = "ping" if "ping" in path.name else "write" if "write" in path.name else "read"
    status = int(re.match(r"-?\d+", footer)[0])  # type: ignore[index]
    return Measurement(name="case", labels={"from": "n13", "to": "n14", "test": test}), Output(status, body, "", 10.0)


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-lustre-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


def lines(samples: tuple[Sample, ...]) -> str:
    rows = [{"metric": s.metric.name, "value": round(s.value, 3), "group": s.labels["group"]} for s in samples]
    return json.dumps(rows, indent=1) + "\n"


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    samples = LST.parse(Options(), measurement, {"lst": output})
    golden(path.with_suffix(".json"), lines(samples))
    assert LST.sanity(Options(), measurement, {"lst": output}, samples) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match="cut off"):
        LST.parse(Options(), measurement, {"lst": output})


SAID = {
    "no-module": "lst does not find the module lnet_selftest",
    "no-answer": "a node does not answer lst (errno 110): it is down, or lnet_selftest is not loaded there",
    "node-down": "a node does not answer lst (errno 113): it is down, or lnet_selftest is not loaded there",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed(path: Path) -> None:
    measurement, output = read(path)
    assert LST.explain(output) == next(said for name, said in SAID.items() if name in path.name)
    with pytest.raises(WorkloadError, match="printed no figures"):
        LST.parse(Options(), measurement, {"lst": output})


def test_figures_are_the_sum_of_the_group_and_seen_from_its_side() -> None:
    [path] = [path for path in kind("good") if "read" in path.name]
    _, output = read(path)
    labels = {"from": "client[1-2]", "to": "oss1", "test": "read"}
    samples = LST.parse(Options(), Measurement(name="case", labels=labels), {"lst": output})
    found = {(s.metric.name, s.labels["group"]): s.value for s in samples}
    assert found["bandwidth", "from"] == pytest.approx(2 * (114.95 + 90.58 + 81.09) / 3)
    assert found["bandwidth_slowest", "from"] == pytest.approx((114.95 + 90.58 + 81.09) / 3)
    assert found["bandwidth", "to"] == pytest.approx((113.78 + 88.06 + 82.28) / 3)
    assert ("bandwidth_slowest", "to") not in found


NOISE = (
    "Warning: Permanently added '10.77.0.12' (ED25519) to the list of known hosts.",
    "[  812.123456] LustreError: 1234:0:(brw_test.c:344:brw_client_done_rpc()) BRW RPC to 12345-10.77.1.2@o2ib failed",
    "8192",
    "",
)


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
@pytest.mark.parametrize("noise", NOISE)
def test_what_stands_between_the_lines_changes_no_figure(path: Path, noise: str) -> None:
    measurement, output = read(path)
    whole = LST.parse(Options(), measurement, {"lst": output})
    lines = output.stdout.splitlines(keepends=True)
    for place in range(len(lines) + 1):
        text = "".join((*lines[:place], f"{noise}\n", *lines[place:]))
        assert LST.parse(Options(), measurement, {"lst": Output(0, text, "", 10.0)}) == whole


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_without_any_of_its_lines_a_report_is_no_report(path: Path) -> None:
    measurement, output = read(path)
    lines = output.stdout.splitlines(keepends=True)
    for place, line in enumerate(lines):
        if line.startswith(("[R]", "[W]")):
            text = "".join((*lines[:place], *lines[place + 1 :]))
            with pytest.raises(WorkloadError, match="cut off in the"):
                LST.parse(Options(), measurement, {"lst": Output(0, text, "", 10.0)})


def test_as_many_reports_as_were_asked_for() -> None:
    [[measurement]] = LST.measurements(Options.model_validate({"tests": ["read"], "duration_s": 6}), HA[2:])
    one = report(c=(100, 90), s=(100, 90))
    for number, whole in ((2, False), (3, True)):
        outputs = {"lst": Output(0, number * one + "Batch is stopped\n", "", 10.0)}
        if whole:
            assert LST.parse(Options(), measurement, outputs)
        else:
            with pytest.raises(WorkloadError, match="2 of 3 reports"):
                LST.parse(Options(), measurement, outputs)


def test_units() -> None:
    rows = list(_rows((CASES / "lustre" / "lst-session-brw.txt").read_text()))
    assert {row.group for row in rows} == {"servers", "readers"}
    decimal = [row for row in rows if row.group == "readers" and row.direction == "R"]
    assert decimal[0].average == pytest.approx(86.15e6 / (1 << 20))
    with pytest.raises(WorkloadError, match="unknown unit 'furlong/s'"):
        list(_rows("[LNet Rates of c]\n[R] Avg: 1 furlong/s Min: 1 furlong/s Max: 1 furlong/s\n"))


def test_errors_of_nodes_are_the_fault_of_what_is_measured() -> None:
    text = "12345-10.77.0.14@tcp: [Session 3 brw errors, 1 ping errors]\nTotal 1 error nodes in s\n"
    assert LST.sanity(Options(), Measurement(name="m", labels={}), {"lst": Output(0, text, "", 1.0)}, ()) == (
        "1 nodes of the group `to` had errors",
        "10.77.0.14@tcp: 3 bulk transfers and 1 pings went wrong",
    )


WHOLE = [path.read_text() for path in kind("good")]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    measurement = Measurement(name="m", labels={"from": "a", "to": "b", "test": "read"})
    outputs = {"lst": Output(0, text, "", 1.0)}
    try:
        samples = LST.parse(Options(), measurement, outputs)
    except WorkloadError:
        samples = ()
    for sample in samples:
        assert 0 <= sample.value < float("inf")
    LST.sanity(Options(), measurement, outputs, samples)
