"""io500's command line and configuration, and recorded output: `$ COMMAND`, what it printed, `# rc=STATUS`."""

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

from vmlab.errors import WorkloadError
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Measurement, Native, Node, Output
from vmlab.workloads.io500 import Io500, Options

CASES = Path(__file__).parents[2] / "cases" / "io500"
IO500 = Io500()
# What src/ini-parse.c takes for a section, and for a value.
SECTION = re.compile(r"^\s*\[\s*([0-9a-zA-Z_-]+)\s*\]\s*(\s[#;].*)?$")
VALUE = re.compile(r"^\s*([0-9a-zA-Z_.-]+)\s*=\s*([^#;]*)\s*(\s[#;].*)?$")
MPI = "program /usr/bin/io500\nbuilt openmpi\nmpirun openmpi /usr/bin/mpirun\n"


def node(name: str, number: int, *roles: str, mpi: str = MPI) -> Node:
    place = Endpoint("mgmt", "management", IPv4Address(f"10.77.0.{number}"), "mgmt")
    return Node(name, roles, (place,), {"mpi": mpi, "mounts": "8388608 /mnt/lustre\n"})


BED = [node("oss1", 3, "oss"), node("client1", 1, "client"), node("client2", 2, "client")]


def measured(bed: list[Node] = BED, **options: object) -> Measurement:
    [[found]] = IO500.measurements(Options.model_validate(options), bed)
    return found


def test_one_mpirun_over_all_clients_with_its_configuration_beside_it() -> None:
    found = measured(tasks_per_node=2, mode="extended")
    prepare, run, remove = found.commands
    assert shlex.join(run.argv).endswith(" --host client1:2,client2:2 -np 4 /usr/bin/io500 io500.ini --mode=extended")
    assert run.brings == ("result.txt",)
    assert found.labels == {"nodes": "client[1-2]", "tasks": "4", "mode": "extended"}
    assert prepare.argv[-1] == remove.argv[-1] == run.argv[4] == "/mnt/lustre/vmlab-io500"
    assert run.files["io500.ini"] == (
        "[global]\ndatadir = /mnt/lustre/vmlab-io500/data\nresultdir = /mnt/lustre/vmlab-io500/results\n"
        "timestamp-datadir = FALSE\ntimestamp-resultdir = FALSE\n\n[debug]\nstonewall-time = 300\n"
    )
    assert IO500.takes_part(Options(), BED) == ("client1", "client2")


def test_more_of_its_configuration_and_a_node_alone_that_drops_its_caches() -> None:
    settings = {"ior-easy": {"blockSize": "1g"}, "global": {"datadir": "/", "verbosity": 2, "scc": True}}
    text = str(measured(nodes=1, stonewall_s=10, settings=settings).commands[1].files["io500.ini"])
    assert "\n\n[debug]\nstonewall-time = 10\n\n[ior-easy]\nblockSize = 1g\n" in text
    assert text.startswith("[global]\ndrop-caches = TRUE\ndrop-caches-cmd = sh -c ")
    assert "\nverbosity = 2\nscc = TRUE\n" in text
    assert re.findall("^datadir = (.*)$", text, re.MULTILINE) == ["/mnt/lustre/vmlab-io500/data"]
    assert all(SECTION.match(line) or VALUE.match(line) or not line for line in text.splitlines())
    for wrong in ("1g\n[debug]", "1g # of each", "a; b"):
        with pytest.raises(ValidationError):
            Options(settings={"ior-easy": {"blockSize": wrong}})


def test_its_result_is_brought_whatever_became_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fs" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    script = measured().commands[1].argv[:4]
    result = process.run(
        (*script, str(tmp_path / "fs"), "sh", "-c", "echo x >fs/results/result.txt; exit 3"), deadline_s=30
    )
    assert result.status == 3
    assert (tmp_path / "result.txt").read_text() == "x\n"


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(WorkloadError, match="client2 has no io500"):
        measured([*BED[:2], node("client2", 2, "client", mpi="")])
    with pytest.raises(WorkloadError, match="no Lustre file system is mounted on all of its nodes"):
        measured([replace(BED[1], facts={"mpi": MPI})])
    assert IO500.on_host(Options(), Native(mount="/mnt/host")).directory == "/mnt/host"


# --- reading -------------------------------------------------------------------------------------------------------


def kind(name: str) -> list[Path]:
    return sorted((CASES / name).glob("*.txt"))


def read(path: Path) -> Output:
    body, footer = path.read_text().partition("\n")[2].rsplit("# rc=", 1)
    return Output(int(re.match(r"\d+", footer)[0]), body, "", 10.0)  # type: ignore[index]


CASE = Measurement(name="m", labels={})
GOOD = read(kind("good")[0]).stdout
VALID = re.sub(r" \[INVALID\]|ERROR INVALID .*\n", "", GOOD)
Figures = dict[tuple[str, str, str], float]


def figures(text: str) -> Figures:
    found = IO500.parse(Options(), CASE, {"io500": Output(0, text, "", 1.0)})
    return {(s.metric.name, s.labels.get("phase", ""), s.labels.get("valid", "")): s.value for s in found}


def notes(text: str) -> tuple[str, ...]:
    return IO500.notes(Options(), CASE, {"io500": Output(0, text, "", 1.0)})


def problems(text: str) -> tuple[str, ...]:
    return IO500.sanity(Options(), CASE, {"io500": Output(0, text, "", 1.0)}, ())


def test_there_are_cases_of_each_kind_with_the_version_in_their_names() -> None:
    for name in ("good", "truncated", "failed"):
        assert kind(name)
        assert all(re.search(r"-io500-\w+\.txt$", path.name) for path in kind(name))


@pytest.mark.parametrize("path", kind("good"), ids=lambda path: path.stem)
def test_good(path: Path, golden: Callable[[Path, str], None]) -> None:
    output = read(path)
    samples = IO500.parse(Options(), CASE, {"io500": output})
    told = [{"metric": s.metric.name, "unit": s.metric.unit, "value": s.value, **s.labels} for s in samples]
    golden(path.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    assert problems(output.stdout) == ()


def test_a_short_run_is_not_valid_and_says_so() -> None:
    found = figures(GOOD)
    assert found["score", "", "no"] == 8.428852
    assert found["score_bandwidth", "", "no"] == 0.934814
    assert found["score_rate", "", "no"] == 75.999638
    assert found["bandwidth", "ior-easy-write", "no"] == 0.820810
    assert found["rate", "find", ""] == 852.548336
    assert found["bandwidth", "ior-rnd4K-easy-read", ""] == 1.209360
    assert len(found) == 3 + 12 + 1
    [note] = notes(GOOD)
    assert note.startswith("not valid by IO500's rules: stonewall-time 2s != 300s; Write phase needed 0.237951s ")


def test_a_valid_run_has_no_mark() -> None:
    found = figures(VALID)
    assert found["score", "", ""] == 8.428852
    assert {valid for *_, valid in found} == {""}
    assert notes(VALID) == ()


def test_the_extended_score_is_another() -> None:
    line = "[SCOREX] Bandwidth 2.000000 GiB/s : IOPS 8.000000 kiops : TOTAL 4.000000\n"
    text = GOOD.replace("\nThe result", f"{line}\nThe result")
    found = IO500.parse(Options(), CASE, {"io500": Output(0, text, "", 1.0)})
    scores = {s.labels.get("score", ""): s.value for s in found if s.metric.name == "score"}
    assert scores == {"": 8.428852, "extended": 4.0}
    with pytest.raises(WorkloadError, match="a phase or a score twice"):
        figures(GOOD.replace("[SCORE ]", f"{line}[SCORE ]").replace("\nThe result", f"{line}\nThe result"))


def of_2020(text: str, version: str) -> str:
    """As src/main.c of that version prints it: isc20 has more blanks, GB/s and no end, sc20 neither."""
    text = re.sub(r"IO500 version \S+ \(standard\)", f"IO500 version {version}", text)
    text = re.sub(r"\[      \] .*\n", "", text)
    text = re.sub(r"\[(RESULT|SCORE )\](.*) \[INVALID\]", lambda m: f"[{m[1].strip()}-invalid]{m[2]}", text)
    if not version.startswith("io500-isc20"):
        return re.sub(r"(ERROR INVALID \([^):]+):\d+\) ", r"\1)", text.replace("[SCORE ]", "[SCORE]"))
    text = re.sub(r"ERROR INVALID \(\S+\) ", "ERROR INVALID ", text.replace("GiB/s : time", "GiB/s  : time"))
    return text.replace("[SCORE ]", "[SCORE]").replace("GiB/s : IOPS", "GB/s : IOPS").partition("\nThe result")[0]


@pytest.mark.parametrize("version", ["io500-isc20", "io500-isc20_v4", "io500-sc20_v3"])
def test_versions_of_2020_mark_what_is_not_valid_in_the_bracket(version: str) -> None:
    of_the_list = {key: value for key, value in figures(GOOD).items() if key[1] != "ior-rnd4K-easy-read"}
    assert "[SCORE-invalid]" in of_2020(GOOD, version)
    assert figures(of_2020(GOOD, version)) == of_the_list
    assert notes(of_2020(GOOD, version)) == notes(GOOD)
    valid = of_2020(VALID, version)
    assert "[SCORE]" in valid
    assert {key[2] for key in figures(valid)} == {""}
    for cut in (valid[:-1], valid.replace("[SCORE]", "[SCORE").rstrip()):
        if version.startswith("io500-isc20"):
            with pytest.raises(WorkloadError, match="cut off"):
                figures(cut)


def test_what_another_version_ends_with_is_asked_of_a_later_one() -> None:
    with pytest.raises(WorkloadError, match="is cut off, 12 of 12 phases are there"):
        figures(of_2020(VALID, "io500-isc20").replace("io500-isc20", "io500-isc21"))


SAID = {
    "find-found-nothing": "a phase is worth nothing, and so is the score: Find didn't find anything",
    "dry-run": "a phase is worth nothing, and so is the score: DRY RUN MODE ACTIVATED",
    "full": "is cut off, 0 of 12 phases are there: the file system is full",
    "unknown-section": "0 of 12 phases are there: io500's configuration: Parsing error in line 1, unknown section",
}


@pytest.mark.parametrize("path", kind("failed"), ids=lambda path: path.stem)
def test_failed_whatever_the_status(path: Path) -> None:
    with pytest.raises(WorkloadError, match=SAID[path.stem.removesuffix("-io500-isc26")]):
        figures(read(path).stdout)
    assert problems(read(path).stdout) == ()


@pytest.mark.parametrize("path", kind("truncated"), ids=lambda path: path.stem)
def test_truncated(path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"io500's report is cut off, (?:1|12) of 12 phases are there"):
        figures(read(path).stdout)


def test_errors_in_a_phase_are_the_file_systems_fault() -> None:
    said = "ERROR INVALID (src/phase_ior.c:43) Errors (12) occured during phase in IOR. This invalidates your run.\n"
    text = GOOD.replace("[RESULT]        ior-easy-read", f"{said}[RESULT]        ior-easy-read")
    assert problems(text) == ("12 errors in a phase of IOR",)
    with pytest.raises(WorkloadError, match=r"worth nothing, and so is the score: Errors \(12\)"):
        figures(text)
    lost = 'ERROR: open64("/mnt/lustre/a", 66, 0664) failed. Error: Input/output error, (aiori-POSIX.c:618)\n'
    [problem] = problems(GOOD + lost)
    assert "Input/output error" in problem


@pytest.mark.parametrize("figure", ["nan", "inf", "-nan", "-1.000000", "0,820810", "0.82081", "1e3", "9" * 400])
def test_a_figure_that_is_none(figure: str) -> None:
    for old in ("0.820810", "75.999638", "8.428852"):
        with pytest.raises(WorkloadError, match="a line of io500's is cut off, or none"):
            figures(GOOD.replace(old, figure))


def test_nothing_is_no_figure() -> None:
    with pytest.raises(WorkloadError, match="measured nothing in find"):
        figures(GOOD.replace("852.548336", "0.000000"))
    with pytest.raises(WorkloadError, match="score is 0"):
        figures(GOOD.replace("75.999638", "0.000000"))
    with pytest.raises(WorkloadError, match="unknown unit 'GB/s'"):
        figures(GOOD.replace("GiB/s : time 0.240", "GB/s : time 0.240"))
    with pytest.raises(WorkloadError, match="11 of 12 phases"):
        figures(re.sub(r".* find .*\n", "", GOOD))


@pytest.mark.parametrize(
    "noise",
    [
        "[node1:812] 1 more process has sent help message help-mpi-btl-base.txt / btl:no-nics\n",
        "WARNING: Read bytes is 0, thus, a read test will actually just open/close\n",
        "              total        used        free      shared  buff/cache   available\n",
    ],
)
@given(where=st.floats(0, 1))
def test_notes_may_stand_between_any_two_lines(noise: str, where: float) -> None:
    lines = GOOD.splitlines(keepends=True)
    place = int(where * len(lines))
    assert figures("".join([*lines[:place], noise, *lines[place:]])) == figures(GOOD)


@given(where=st.integers(0, len(GOOD)), text=st.sampled_from([GOOD, VALID]))
def test_what_is_cut_has_all_figures_or_none(where: int, text: str) -> None:
    try:
        found = figures(text[:where])
    except WorkloadError:
        return
    assert found == figures(text)


WHOLE = [read(path).stdout for path in (*kind("good"), *kind("failed"))]


@given(
    st.text()
    | st.builds(lambda t, a, b, c: t[:a] + c + t[b:], st.sampled_from(WHOLE), *2 * [st.integers(0, 3000)], st.text())
)
def test_any_text_gives_figures_or_a_workload_error(text: str) -> None:
    outputs = {"io500": Output(0, text, "", 1.0)}
    try:
        samples = IO500.parse(Options(), CASE, outputs)
    except WorkloadError:
        samples = ()
    assert all(0 < sample.value < float("inf") for sample in samples)
    IO500.sanity(Options(), CASE, outputs, samples)
    IO500.notes(Options(), CASE, outputs)
    assert IO500.explain(outputs["io500"])
