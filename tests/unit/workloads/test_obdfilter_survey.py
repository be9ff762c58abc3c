"""The survey's command lines, what it leaves behind, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`.

Those in whose names a stand-in for lctl stands are of the script as it is, over a stand-in that answers like two OSTs:
their speeds mean nothing.
"""

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
from vmlab.metrics import Sample
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Node, Output, Task
from vmlab.workloads.obdfilter_survey import ObdfilterSurvey, Options

CASES = Path(__file__).parents[2] / "cases" / "obdfilter_survey"
SURVEY = ObdfilterSurvey()
TOOLS = "obdfilter-survey\ngawk\nlctl\n"


def node(name: str, number: int, devices: str = "", **facts: str) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    known = {"tools": TOOLS, "devices": devices, "nets": f"10.77.1.{number}@o2ib\n", "space": ""}
    return Node(name, (name.rstrip("0123456789"),), (place,), known | facts)


def osts(*names: str) -> str:
    lines = ["  0 UP osd-ldiskfs lab-OST0001-osd lab-OST0001-osd_UUID 5", "  2 UP ost OSS OSS_uuid 3"]
    return "\n".join([*lines, *(f"  3 UP obdfilter {name} {name}_UUID 6" for name in names)])


OSC = "  4 UP osc lab-OST0000-osc-ffff9f 1c 4\n  5 UP osc lab-OST0001-osc-ffff9f 1c 4\n"
BED = [
    node("oss1", 1, osts("lab-OST0000", "lab-OST0002")),
    node("oss2", 2, osts("lab-OST0001")),
    node("client1", 3, OSC),
    node("client2", 4, OSC),
]


def measured(bed: list[Node] = BED, **options: object) -> list[Measurement]:
    settings = {"objects": [1], "threads": [4], **options}
    return [m for r in SURVEY.measurements(Options.model_validate(settings), bed) for m in r]


def words(measurement: Measurement) -> dict[str, str]:
    [task] = measurement.commands
    return dict(word.split("=", 1) for word in task.argv if re.match(r"\w+=.*$", word) and "\n" not in word)


def test_each_oss_alone_and_then_all_at_once() -> None:
    found = measured()
    assert [m.labels["nodes"] for m in found] == ["oss1", "oss2", "oss1+oss2"]
    assert [m.labels["osts"] for m in found] == ["2", "1", "3"]
    assert [words(m)["targets"] for m in found] == [
        "lab-OST0000 lab-OST0002",
        "lab-OST0001",
        "oss1:lab-OST0000 oss1:lab-OST0002 oss2:lab-OST0001",
    ]
    assert [m.commands[0].node for m in found] == ["oss1", "oss2", "oss1"]
    assert SURVEY.takes_part(Options(), BED) == ("oss1", "oss2")
    assert [m.labels["nodes"] for m in measured(together=True)] == ["oss1+oss2"]
    assert [m.labels["nodes"] for m in measured(together=False)] == ["oss1", "oss2"]
    assert [m.labels["nodes"] for m in measured(nodes="oss2")] == ["oss2"]
    assert [m.labels["nodes"] for m in measured(nodes=1)] == ["oss1"]


def test_the_servers_of_each_host_and_then_of_all() -> None:
    bed = [node(f"oss{n}", n, osts(f"lab-OST000{n}")) for n in (1, 2, 3)]
    over = [replace(one, host="kvm2" if one.name == "oss3" else "kvm1") for one in bed]
    found = [(m.labels["nodes"], m.labels.get("host")) for m in measured(over)]
    alone = [("oss1", None), ("oss2", None), ("oss3", "kvm2")]
    assert found == [*alone, ("oss1+oss2", "kvm1"), ("oss1+oss2+oss3", "all")]
    together = [(m.labels["nodes"], m.labels["host"]) for m in measured(over, together=True)]
    assert together == [("oss1+oss2", "kvm1"), ("oss3", "kvm2"), ("oss1+oss2+oss3", "all")]
    assert [m.labels["nodes"] for m in measured(over, together=False)] == ["oss1", "oss2", "oss3"]
    assert all("host" not in m.labels for m in measured([replace(one, host="kvm1") for one in bed]))


def test_each_row_is_a_run_with_as_many_threads_on_each_object() -> None:
    found = measured(nodes=1, objects=[1, 2, 3], threads=[1, 2, 4], size="1GiB", record="512KiB")
    assert [(words(m)["nobjhi"], words(m)["thrlo"]) for m in found] == [
        ("1", "1"), ("1", "2"), ("1", "4"), ("2", "2"), ("2", "4")
    ]  # fmt: skip
    assert words(found[0]) == {
        "case": "disk",
        "targets": "lab-OST0000 lab-OST0002",
        "size": "1024",
        "rszlo": "512",
        "rszhi": "512",
        "nobjlo": "1",
        "nobjhi": "1",
        "thrlo": "1",
        "thrhi": "1",
        "tests_str": "write rewrite read",
    }


def test_an_oss_without_osts_is_skipped_and_takes_no_part_in_all() -> None:
    idle = [replace(BED[0], facts=BED[0].facts | {"devices": ""}), *BED[1:]]
    found = measured(idle)
    assert [m.skipped for m in found] == ["no OST is mounted on oss1", ""]
    with pytest.raises(WorkloadError, match="no OST is mounted on oss1"):
        measured(idle[:1])


def test_through_the_oscs_of_a_client() -> None:
    [found] = measured(case="netdisk")
    assert found.labels["nodes"] == "client1"
    assert words(found)["targets"] == "lab-OST0000-osc-ffff9f_ecc lab-OST0001-osc-ffff9f_ecc"
    assert found.commands[0].argv[9] == "lab-OST0000-osc-ffff9f lab-OST0001-osc-ffff9f"
    assert [m.labels["nodes"] for m in measured(case="netdisk", nodes=2)] == ["client1", "client2"]
    with pytest.raises(WorkloadError, match="no file system is mounted on client1"):
        measured([node("client1", 3)], case="netdisk")


def test_the_network_to_a_server_without_osts() -> None:
    bare = [node("oss1", 1), node("client1", 3)]
    [found] = measured(bare, case="network")
    assert words(found)["targets"] == "10.77.1.1"
    assert words(found)["NETTYPE"] == "o2ib"
    assert SURVEY.takes_part(Options(case="network"), BED) == ("oss1", "oss2", "client1")
    with pytest.raises(WorkloadError, match="would take down the OSS of oss1"):
        measured(case="network")
    with pytest.raises(WorkloadError, match="a file system is mounted on client1"):
        measured([bare[0], BED[2]], case="network")
    with pytest.raises(WorkloadError, match="client1 and oss1 are on no LNet network together"):
        measured([bare[0], node("client1", 3, nets="10.0.0.1@tcp\n")], case="network")


@pytest.mark.parametrize("version", ["lctl 2.16.0", "lctl 2.17.57_62_gc881f8e", "3.0"])
def test_what_lustre_cannot_do_any_more_is_refused_before(version: str) -> None:
    """2.15 and one that does not tell are asked."""
    new, bare = ([replace(n, facts={**n.facts, "version": version}) for n in bed] for bed in (BED, [BED[0]]))
    for case in ("netdisk", "network"):
        with pytest.raises(WorkloadError, match=r"no echo client over an OSC since 2\.16"):
            measured(new, case=case)
    assert measured(bare)
    old = [replace(n, facts={**n.facts, "version": "lctl 2.15.6"}) for n in BED]
    assert measured(old, case="netdisk")


def test_an_echo_client_over_an_osc_that_can_do_nothing_is_not_the_servers_fault() -> None:
    """What 2.17.57 said of each transfer between a client and a server without OSTs."""
    measurement, output = read(CASES / "failed/error-and-short-lustre-2.17.57.txt")
    detail = b"=============> write localhost:echotmp_ecc\nerror: test_brw-1: #1 - Invalid argument on write\n"
    output = replace(output, files={"survey.detail": detail})
    for case in ("netdisk", "network"):
        of_case = replace(measurement, labels={**measurement.labels, "case": case})
        with pytest.raises(WorkloadError, match=r"no echo client over an OSC since 2\.16"):
            parse(of_case, output)
        assert problems(of_case, output) == ()
    assert problems(measurement, output) != ()


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="oss1 has no gawk"):
        measured([node("oss1", 1, osts("a"), tools="obdfilter-survey\n")])
    with pytest.raises(WorkloadError, match="oss1 has no obdfilter-survey"):
        measured([node("oss1", 1, osts("a"), tools="gawk\n")])
    with pytest.raises(WorkloadError, match="16GiB do not fit into the 1024MiB that are free in lab-OST0001") as caught:
        measured([node("oss1", 1, osts("lab-OST0001"), space="obdfilter.lab-OST0001.kbytesavail=1048576\n")])
    assert caught.value.hint == "--set size=972MiB"
    with pytest.raises(WorkloadError, match="no node has the role oss"):
        measured(BED[2:])
    with pytest.raises(WorkloadError, match="3 nodes are wanted, and 2 are oss"):
        measured(nodes=3)
    with pytest.raises(UsageError, match="no node 'oss9'"):
        measured(nodes="oss9")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tests": ["read"]}, "first of the tests must be write"),
        ({"tests": ["write", "write"]}, "named twice"),
        ({"record": "8MiB"}, "no record"),
        ({"record": "1KB"}, "no multiple of 4KiB"),
        ({"objects": [3], "threads": [4]}, "no number of threads is a multiple"),
        ({"size": "8MiB", "threads": [16]}, "less than one record for each of 16 threads"),
    ],
)
def test_options_that_the_survey_would_not_take(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Options.model_validate(options)


# --- what it leaves behind -----------------------------------------------------------------------------------------

LCTL = """#!/bin/sh
echo "lctl $*" >>$LOG
case "$*" in
dl) cat $DEVICES ;;
'') read -r attach kind name uuid; read -r setup; echo "$setup" >>$LOG; echo "  9 UP $kind $name $uuid 3" >>$DEVICES ;;
*detach) grep -v " $2 " $DEVICES >$DEVICES.new; mv $DEVICES.new $DEVICES ;;
esac
"""
OLD = """=======================> ost  2 sz    65536K rsz 1024K obj    2 thr    2
=============> Create 1 on localhost:lab-OST0000_ecc
create: 1 objects
create: #1 is object id 0x10
=============> Destroy 1 on localhost:lab-OST0000_ecc
=============> Create 4 on localhost:lab-OST0000_ecc
create: 4 objects
create: #1 is object id 0x17
create: #2 is object id 0x18
=============> Create 4 on oss2:lab-OST0001_ecc
create: 4 objects
create: #1 is object id 5
=============> write localhost:lab-OST0000_ecc
"""
DEVICES = """  0 UP osd-ldiskfs lab-OST0000-osd lab-OST0000-osd_UUID 5
  2 UP ost OSS OSS_uuid 3
  3 UP obdfilter lab-OST0000 lab-OST0000_UUID 6
  4 UP echo_client lab-OST0000_ecc lab-OST0000_ecc_UUID 3
  5 UP echo_client somebody-else somebody-else_UUID 3
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs in place of a guest's, whose `ssh` comes back to the same one."""
    programs = {"lctl": LCTL, "ssh": '#!/bin/sh\necho "ssh $3" >>$LOG\nexec sh -c "$4"\n'}
    for name in ("modprobe", "rmmod", "pkill"):
        programs[name] = "#!/bin/sh\n"
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("DEVICES", str(tmp_path / "devices"))
    (tmp_path / "devices").write_text(DEVICES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def survey(place: Path, body: str, limit: str = "60", **options: object) -> process.Result:
    (place / "obdfilter-survey").write_text(f"#!/bin/sh\n{body}\n")
    (place / "obdfilter-survey").chmod(0o755)
    [found] = measured(**(options or {"together": True}))
    argv = list(found.commands[0].argv)
    argv[4], argv[5] = str(place / "survey"), limit
    return process.run(argv, deadline_s=60)


def log(place: Path) -> list[str]:
    return (place / "log").read_text().splitlines()


def test_what_a_killed_survey_left_is_removed_before_the_next_one(place: Path) -> None:
    (place / "survey").mkdir()
    (place / "survey" / "survey.detail").write_text(OLD)
    result = survey(place, 'grep -c ecc $DEVICES; echo "$targets $thrhi"; echo new >$rslt.detail')
    assert result.ok
    assert result.stdout == "0\noss1:lab-OST0000 oss1:lab-OST0002 oss2:lab-OST0001 4\n"
    destroyed = [line for line in log(place) if " destroy " in line]
    assert sorted(destroyed) == [
        "lctl --device lab-OST0000_ecc destroy 0x17 4",
        "lctl --device lab-OST0001_ecc destroy 5 4",
    ]
    assert "setup lab-OST0001" in log(place)
    assert "ssh oss2" in log(place)
    assert (place / "devices").read_text() == DEVICES.replace(
        "  4 UP echo_client lab-OST0000_ecc lab-OST0000_ecc_UUID 3\n", ""
    )
    assert (place / "survey.detail").read_text() == "new\n"
    assert not (place / "survey").exists()


def test_a_survey_that_ends_early_leaves_nothing_either(place: Path) -> None:
    result = survey(place, f"printf '%s' '{OLD}' >$rslt.detail; echo 'OST x not setup'; exit 2")
    assert result.status == 2
    assert "lctl --device lab-OST0000_ecc destroy 0x17 4" in log(place)
    assert "_ecc" not in (place / "devices").read_text()


def test_a_survey_that_does_not_end_is_ended(place: Path) -> None:
    result = survey(place, "trap 'echo done!; exit 0' TERM; sleep 30 & wait", limit="1")
    assert result.stdout == "done!\n"
    assert SURVEY.explain(Output(result.status, result.stdout, result.stderr, 1.0)) == (
        "obdfilter-survey did not end in time"
    )


def test_a_client_has_echo_clients_over_its_oscs_while_it_is_surveyed(place: Path) -> None:
    """2.17.57: `class_attach_name()) lustre-OST0000-osc-ffff888008cce800_ecc: uuid must be < 40 bytes long`."""
    result = survey(place, "grep _ecc $DEVICES", case="netdisk")
    made = [line.split() for line in result.stdout.splitlines()]
    assert [words[3] for words in made] == ["lab-OST0000-osc-ffff9f_ecc", "lab-OST0001-osc-ffff9f_ecc"]
    assert all(len(words[4]) < 20 for words in made)
    assert (place / "devices").read_text() == "".join(
        line for line in DEVICES.splitlines(keepends=True) if "_ecc" not in line
    )


def test_an_osc_that_takes_no_echo_client_is_told_and_nothing_is_left(place: Path) -> None:
    """What lctl of 2.17.57 said of a client that had the file system mounted."""
    refusing = LCTL.replace(
        ">>$DEVICES ;;", ">>$DEVICES; echo 'error: setup: Operation already in progress'; exit 114 ;;"
    )
    (place / "lctl").write_text(refusing)
    result = survey(place, "echo surveyed", case="netdisk")
    assert (result.status, "surveyed" in result.stdout) == (114, False)
    assert "_ecc" not in (place / "devices").read_text()
    told = SURVEY.explain(Output(result.status, result.stdout, result.stderr, 1.0))
    assert told.startswith("Lustre has no echo client over an OSC since 2.16")


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> tuple[Measurement, Output]:
    first, _, rest = path.read_text().partition("\n")
    body, footer = rest.rsplit("# rc=", 1)
    task = Task(name="survey", node="oss1", argv=tuple(shlex.split(first.removeprefix("$ "))), deadline_s=60)
    detail = path.with_suffix(".detail")
    files = {"survey.detail": detail.read_bytes()} if detail.exists() else {}
    output = Output(int(re.match(r"\d+", footer)[0]), body, "", 10.0, files=files)  # type: ignore[index]
    return Measurement(name="case", labels={"nodes": "oss1"}, tasks=(task,)), output


def parse(measurement: Measurement, output: Output) -> tuple[Sample, ...]:
    return SURVEY.parse(Options(), measurement, {"survey": output})


def problems(measurement: Measurement, output: Output) -> tuple[str, ...]:
    return SURVEY.sanity(Options(), measurement, {"survey": output}, ())


def changed(measurement: Measurement, text: str) -> tuple[Sample, ...]:
    return parse(measurement, Output(0, text, "", 1.0))


CASE, GOOD = read(kind("good")[0])


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-lustre-\d+(\.\d+)+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    measurement, output = read(path)
    told = [{"metric": s.metric.name, "value": s.value, **s.labels} for s in parse(measurement, output)]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert problems(measurement, output) == ()


def test_objects_and_threads_are_those_of_each_ost() -> None:
    found = {
        (s.labels["objects"], s.labels["threads"], s.labels["operation"], s.metric.name): s.value
        for s in parse(CASE, GOOD)
    }
    assert found["1", "2", "rewrite", "bandwidth"] == 461.11
    assert found["1", "2", "rewrite", "bandwidth_min_ost"] == 154.10
    assert found["2", "2", "read", "bandwidth_max_ost"] == 197.13
    assert len(found) == 3 * 3 * 3


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated_whatever_it_says_at_the_end(path: Path) -> None:
    measurement, output = read(path)
    assert output.ok
    with pytest.raises(WorkloadError, match="is cut off"):
        parse(measurement, output)
    assert problems(measurement, output) == ()


SAID = {
    "error-and-short": r"over within a second \(SHORT\): read of 1 objects, 4 threads",
    "short": r"\(SHORT\): write of 1 objects, 1 threads, rewrite of",
    "short-behind-a-figure": r"\(SHORT\): rewrite of 1 objects, 1 threads, read of 1 objects, 1 threads",
    "no-gawk": "is cut off, or none|the node has no gawk",
    "no-target": "printed no figures: there is no OST lab-OST0009 on the node",
    "no-result-dir": "a row of obdfilter-survey is cut off",
    "not-contiguous": "a row of obdfilter-survey is cut off",
    "network-nid": "printed no figures: the survey cannot reach a node: Could not resolve hostname tcp",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed_whatever_the_status(path: Path) -> None:
    measurement, output = read(path)
    with pytest.raises(WorkloadError, match=SAID[path.stem.removesuffix("-lustre-2.17.57")]):
        parse(measurement, output)


def test_an_error_of_an_ost_is_the_fault_of_what_is_tested() -> None:
    measurement, output = read(CASES / "failed/error-and-short-lustre-2.17.57.txt")
    [problem] = problems(measurement, output)
    assert problem == (
        "an OST failed in rewrite of 1 objects, 2 threads: fs-OST0001 answered 'error: test_brw: Input/output error'"
    )
    text = re.sub(r"(?m)^.*SHORT.*\n", "", output.stdout)
    asked = replace(measurement.commands[0], argv=("thrhi=2", "nobjhi=1"))
    found = changed(replace(measurement, tasks=(asked,)), text)
    whole = [(s.labels["threads"], s.labels["operation"], s.value) for s in found if s.metric.name == "bandwidth"]
    assert whole == [
        ("1", "write", 505.29),
        ("1", "rewrite", 506.16),
        ("1", "read", 505.88),
        ("2", "write", 506.93),
        ("2", "read", 505.24),
    ]


def test_without_gawk_nothing_was_counted_though_there_are_rows() -> None:
    text = re.sub(r"\[ *[0-9., ]+\]", "            SHORT", GOOD.stdout)
    said = Output(0, text, "/usr/bin/obdfilter-survey: line 145: gawk: command not found\n", 1.0)
    with pytest.raises(WorkloadError, match="could not count: the node has no gawk"):
        parse(CASE, said)
    with pytest.raises(WorkloadError, match="SHORT"):
        parse(CASE, replace(said, stderr=""))


def test_brackets_of_older_versions_have_no_blank_and_records_no_unit() -> None:
    assert changed(CASE, GOOD.stdout.replace(",  ", ", ").replace(", ", ",")) == parse(CASE, GOOD)
    of_1_8 = re.sub(r"(rsz +\d+)K", r"\1", GOOD.stdout)
    assert of_1_8 != GOOD.stdout
    assert changed(CASE, of_1_8) == parse(CASE, GOOD)


def test_a_row_for_which_there_is_no_memory() -> None:
    """Lustre up to 2.9: the row is begun and ends with these words."""
    text = re.sub(r"(?m)(thr +\d+) write.*$", r"\1 Too much buffer space", GOOD.stdout, count=1)
    with pytest.raises(WorkloadError, match=r"cut off, or none: .*Too much buffer space"):
        changed(CASE, text)


@pytest.mark.parametrize("figure", ["nan", "inf", "-1.00", "505,29", "1e308", "", "9" * 400, "505.2", "5 05.29"])
@pytest.mark.parametrize("old", ["477.75", "169.12", "243.13"])
def test_a_figure_that_is_none(figure: str, old: str) -> None:
    with pytest.raises(WorkloadError, match="cut off, or none"):
        changed(CASE, GOOD.stdout.replace(old, figure))


def test_nothing_in_no_time_is_no_figure() -> None:
    with pytest.raises(WorkloadError, match="moved nothing by write of 1 objects, 1 threads"):
        changed(CASE, GOOD.stdout.replace("477.75", "0.00"))


def test_what_was_not_driven_is_missed() -> None:
    asked = replace(CASE.commands[0], argv=("targets=a b c", "thrhi=2", "nobjhi=2"))
    with pytest.raises(WorkloadError, match="drove 2 of 3 targets"):
        parse(replace(CASE, tasks=(asked,)), GOOD)
    asked = replace(CASE.commands[0], argv=("tests_str=write read", "thrhi=2", "nobjhi=2"))
    with pytest.raises(WorkloadError, match="was to measure write, read, and write, rewrite, read are there"):
        parse(replace(CASE, tasks=(asked,)), GOOD)


@given(where=st.integers(0, len(GOOD.stdout)))
def test_what_is_cut_has_all_figures_or_none(where: int) -> None:
    try:
        found = changed(CASE, GOOD.stdout[:where])
    except WorkloadError:
        return
    assert found == parse(CASE, GOOD)


WHOLE = [read(path)[1].stdout for path in (*kind("good"), *kind("failed"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 900)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    outputs = {"survey": Output(0, text, "", 1.0, files={"survey.detail": text.encode(errors="replace")})}
    try:
        samples = SURVEY.parse(Options(), CASE, outputs)
    except WorkloadError:
        samples = ()
    assert all(0 <= sample.value < float("inf") for sample in samples)
    SURVEY.sanity(Options(), CASE, outputs, samples)
    assert SURVEY.explain(outputs["survey"])
