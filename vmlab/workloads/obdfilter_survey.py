"""OSTs without clients, by lustre-iokit's obdfilter-survey: objects x threads, written, rewritten and read.

An echo client beside the OST's own device makes the load. `case: disk` drives the OSTs where they are, each OSS alone,
those of each host together where they are on several, and then all at once; `netdisk` drives them through the OSCs of a
client, `network` a server that has no OST at all. Lustre has no echo client over an OSC since 2.16 (LU-10994):
`netdisk` and `network` are for older ones. 2.17.57 answers EALREADY where a mount has connected the OSC, else EINVAL to
each transfer.

Each row of its table, so many objects and threads, is a run of its own: a failure costs no other row, and a run that
was broken off goes on. What a killed survey left behind is removed before and after: its echo clients, its processes,
and its objects, which its .detail file names. The script (lustre-iokit/obdfilter-survey) is steered by the environment;
it counts objects and threads per OST and prints those of all OSTs. Its "MB" are MiB. It ends with status 0 when an OST
answered with an error (ERROR), when a test was over before its first second was counted (SHORT), and when it was
ended by a signal, having said `done!`; ERROR and SHORT stand where lowest and highest do, beside a figure that is void.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import override

from vmlab.errors import WorkloadError
from vmlab.lustre import lnetctl
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.topology.wording import quote
from vmlab.values.nodeset import fold
from vmlab.values.size import Bytes
from vmlab.workloads import ON_HOST, Measurement, Node, Output, Outputs, Task, Workload, register
from vmlab.workloads._causes import matched
from vmlab.workloads._install import SYSTEM, require, tools
from vmlab.workloads._lustre import NETS, over_soft_roce
from vmlab.workloads._nodes import CLIENTS, NodeNames, by_hosts, named
from vmlab.workloads._sizes import READ, form, within

_TOOL = "obdfilter-survey"
_TASK = "survey"
_FOLDER = "/var/lib/vmlab-obdfilter-survey"
"""On each node that takes part, always the same: the next survey finds there what a killed one had made."""
_DETAIL = "survey.detail"
_PAGE = 4 << 10
_LARGEST_RECORD = 4 << 20
_FREE = 0.95
_TIDY_S = 300
_WITHOUT_ECHO_OVER_OSC = (2, 16)
_MOST_NAMES = 3

_BANDWIDTH = Metric("bandwidth", Unit.MIB_PER_S, "higher", "bandwidth", "of all OSTs together")
_MIN = Metric("bandwidth_min_ost", Unit.MIB_PER_S, "higher", "bandwidth", "of one OST, in the slowest second of any")
_MAX = Metric("bandwidth_max_ost", Unit.MIB_PER_S, "higher", "bandwidth", "of one OST, in the fastest second of any")

_CLEAN = script(__file__, "survey_clean.sh")
# Objects that were made and not destroyed: the node, the echo client, the first object and how many.
_LEFT = r"""
/^=+> Create [0-9]+ on / { split($5, at, ":"); count = $3; made = $5 }
/^create: #1 is object id / { left[made] = at[1] " " at[2] " " $6 " " count }
/^=+> Destroy [0-9]+ on / { delete left[$5] }
END { for (made in left) print left[made] }
"""
_SURVEY = script(__file__, "survey_run.sh")
_TIMED_OUT = 124

Record = Annotated[Bytes, within("record", _LARGEST_RECORD), READ, form("1MiB", "256KiB")]
Amount = Annotated[Bytes, within("amount of data"), READ, form("16GiB")]
Count = Annotated[int, Field(ge=1, le=1024)]
Test = Literal["write", "rewrite", "read", "reread", "rewrite_again"]


class Options(BaseModel):
    """What may be written below `obdfilter_survey:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: Literal["disk", "netdisk", "network"] = Field(
        "disk",
        description="OSTs in place; up to Lustre 2.15 also OSTs from a client, or the network to a server without OSTs",
    )
    nodes: NodeNames | None = Field(
        None, description="disk: the OSSs (default: all nodes that are oss); else who drives them (default: a client)"
    )
    to: NodeNames | None = Field(None, description="network: the servers (default: all nodes that are oss)")
    together: bool | None = Field(
        None,
        description="disk: those of each host and all OSSs at once, or each alone (default: both, one after the other)",
    )
    objects: tuple[Count, ...] = Field((1, 2, 4, 8, 16), min_length=1, description="objects on each OST")
    threads: tuple[Count, ...] = Field(
        (1, 2, 4, 8, 16), min_length=1, description="threads on each OST; as many on each of its objects"
    )
    record: Record = Field(Bytes(1 << 20), description="bytes of one transfer")
    size: Amount = Field(Bytes(16 << 30), description="bytes that each test moves on each OST")
    tests: tuple[Test, ...] = Field(
        ("write", "rewrite", "read"), min_length=1, description="what is measured, in this order; the first is write"
    )
    timeout_s: int = Field(3600, ge=1, le=604_800, description="deadline of each row")

    @model_validator(mode="after")
    def _rows(self) -> Self:
        if self.tests[0] != "write":
            raise ValueError("the first of the tests must be write: it makes what the others use")
        if len(set(self.tests)) < len(self.tests):
            raise ValueError("a test is named twice")
        if self.record % _PAGE:
            raise ValueError(f"record {self.record} is no multiple of {Bytes(_PAGE)}")
        if not list(_rows(self)):
            raise ValueError("no number of threads is a multiple of a number of objects")
        if self.size < self.record * max(self.threads):
            raise ValueError(f"size {self.size} is less than one record for each of {max(self.threads)} threads")
        return self


def _rows(options: Options) -> Iterator[tuple[int, int]]:
    """Objects and threads on each OST: each object has as many threads as the others."""
    yield from (
        (objects, threads)
        for objects in dict.fromkeys(options.objects)
        for threads in dict.fromkeys(options.threads)
        if not threads % objects
    )


@register
class ObdfilterSurvey(Workload[Options]):
    """Each measurement is one row of the survey, by its script on one node."""

    name = "obdfilter_survey"
    summary = "OSTs by objects and threads, without clients (lustre-iokit)"
    options = Options
    metrics = (_BANDWIDTH, _MIN, _MAX)
    packages = ("lustre-iokit", "lustre", "lustre-utils", "lustre-server-utils", "lustre-client-utils")
    facts = MappingProxyType(
        {
            "tools": tools(_TOOL, "gawk", "lctl"),
            "devices": ("sh", "-c", "lctl dl 2>/dev/null; exit 0"),
            "version": ("sh", "-c", "lctl --version 2>/dev/null; exit 0"),
            "space": ("sh", "-c", "lctl get_param obdfilter.*.kbytesavail 2>/dev/null; exit 0"),
            "nets": NETS,
            "system": SYSTEM,
        }
    )

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        drive, serve = _sides(options, nodes)
        chosen = {node.name for node in (*drive, *serve)}
        return tuple(node.name for node in nodes if node.name in chosen)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        drive, serve = _sides(options, nodes)
        if options.case != "disk":
            _has_echo_over_osc(drive)
        sets = {
            "disk": lambda: list(_of_disks(options, drive)),
            "netdisk": lambda: [_of_client(node) for node in drive],
            "network": lambda: [_of_server(node, server) for node in drive for server in serve],
        }[options.case]()
        for driven in sets:
            if not driven.skipped:
                require(self.name, _TOOL, [driven.driver], of="lustre-iokit")
                require(self.name, "gawk", [driven.driver])
        _fit(options, [node for driven in sets for node in driven.nodes])
        return tuple((one,) for driven in sets for one in _measurements(options, driven))

    @override
    def soft(self, options: Options, nodes: Sequence[Node]) -> bool:
        return options.case != "disk" and over_soft_roce(nodes)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        output = outputs.get(_TASK)
        if output is None:
            raise WorkloadError(f"{_TOOL} did not run")
        found = _report(output.stdout)
        if _refused(measurement, output):
            raise WorkloadError(_NO_ECHO_OVER_OSC)
        if not found:
            raise WorkloadError(f"{_TOOL} printed no figures: {self.explain(output)}")
        if lacking := re.search(r"(\S+): command not found", f"{output.stderr}\n{output.stdout}"):
            raise WorkloadError(f"{_TOOL} could not count: the node has no {lacking[1]}")
        _whole(found, _settings(measurement), output.stdout)
        if short := [f"{test} of {row.told}" for row in found for test in row.tests if row.tests[test].word == "SHORT"]:
            raise WorkloadError(
                f"not measured, for it was over within a second (SHORT): {', '.join(short)}",
                hint="--set size=SIZE, larger",
            )
        return tuple(sample for row in found for sample in _samples(measurement, row))

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        output = outputs.get(_TASK)
        try:
            found = _report(output.stdout) if output is not None else []
        except WorkloadError:
            return ()
        failed = [f"{test} of {row.told}" for row in found for test in row.tests if row.tests[test].word == "ERROR"]
        if output is None or not failed or "command not found" in f"{output.stderr}{output.stdout}":
            return ()
        if _refused(measurement, output):
            return ()
        why = _said(_detail(output))
        return (f"an OST failed in {', '.join(failed)}{f': {why}' if why else ''}",)

    @override
    def explain(self, output: Output) -> str:
        if output.status == _TIMED_OUT:
            return f"{_TOOL} did not end in time"
        return matched(_FAILURES, f"{output.stderr}\n{output.stdout}") or super().explain(output)


_NO_ECHO_OVER_OSC = (
    "Lustre has no echo client over an OSC since 2.16 (LU-10994): `case: disk` drives the OSTs in place, "
    "`lnet_selftest` the network, `ior` both"
)
# iokit-libecho and obdfilter-survey
_FAILURES = (
    (r"^ssh: ([^\n]{1,200})", "the survey cannot reach a node: {}"),
    (r"(Permission denied) \((?:publickey|password|keyboard)", "the survey cannot reach a node by ssh: {}"),
    (r"^OST (\S+) not setup", "there is no OST {} on the node"),
    (r"(created object #s on \S+ not contiguous)", "{}"),
    (r"(Could not install obdecho on \S+)", "{}"),
    (r"modprobe: FATAL: ([^\n]*obdecho[^\n]*)", "{}"),
    (r"(obdecho|ost) not setup on server", "the survey could not set up {} on the server"),
    (r"The existing setup must be cleaned", "a file system is mounted on the node"),
    (r"(Can't find any OSTs|no devices or hosts specified)", "{}"),
    (r"(Can't setup echo-client)", "{}"),
    (r"error: setup: Operation already in progress", _NO_ECHO_OVER_OSC),
    (r"(\S+): command not found", "the node has no {}"),
)


# --- who drives what -----------------------------------------------------------------------------------------------


class _Driven(NamedTuple):
    """Targets as the survey takes them, on `nodes`, driven from one.

    `devices` are those that need an echo client first; `words` are more of the survey's variables. `host`: these are
    all the servers of that one, or of all, where they are on several.
    """

    driver: Node
    nodes: tuple[Node, ...]
    targets: tuple[str, ...]
    devices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    skipped: str = ""
    host: str = ""

    @property
    def called(self) -> str:
        """vm01+vm02; a long list is folded."""
        names = [node.name for node in self.nodes]
        return "+".join(names) if len(names) <= _MOST_NAMES else fold(names)


def _sides(options: Options, nodes: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Who drives, and who serves them where that is another. Raises UsageError, WorkloadError."""
    servers = [node for node in nodes if "oss" in node.roles]
    if options.case == "disk":
        return _chosen("oss", options.nodes, servers, nodes), []
    clients = [node for node in nodes if CLIENTS.intersection(node.roles)]
    drive = _chosen("client or fta", options.nodes, clients if options.nodes else clients[:1], nodes)
    return drive, _chosen("oss", options.to, servers, nodes) if options.case == "network" else []


def _chosen(role: str, text: str | None, would: Sequence[Node], nodes: Sequence[Node]) -> list[Node]:
    if text is not None and not text.isdecimal():
        return named("obdfilter_survey", text, nodes) or []
    wanted = len(would) if text is None else int(text)
    if not would or wanted > len(would):
        raise WorkloadError(
            f"obdfilter_survey: {wanted or 'some'} nodes are wanted, and {len(would)} are {role}"
            if would
            else f"obdfilter_survey: no node has the role {role}",
            hint="--set nodes=NODES",
        )
    return list(would[:wanted])


def _devices(node: Node, kind: str) -> list[tuple[str, str]]:
    """Names and UUIDs of Lustre's devices of that kind that are up, by the fact `devices`."""
    lines = [line.split() for line in node.facts.get("devices", "").splitlines()]
    return [(words[3], words[4]) for words in lines if len(words) > 4 and words[1:3] == ["UP", kind]]  # noqa: PLR2004


def _of_disks(options: Options, servers: Sequence[Node]) -> Iterator[_Driven]:
    """Raises WorkloadError if no OST is there at all."""
    osts = {node.name: tuple(name for name, _ in _devices(node, "obdfilter")) for node in servers}
    serving = [node for node in servers if osts[node.name]]
    if not serving:
        raise WorkloadError(
            f"obdfilter_survey: no OST is mounted on {fold(node.name for node in servers)}", hint="vmlab fs mount BED"
        )
    sets = by_hosts(serving)
    for node in servers if options.together is not True else ():
        idle = "" if osts[node.name] else f"no OST is mounted on {node.name}"
        host = node.host if sets.get(node.host) == [node] and len(sets) > 1 else ""
        yield _Driven(node, (node,), osts[node.name], skipped=idle, host=host)
    if options.together is False or not (len(serving) > 1 or options.together):
        return
    for host, some in sets.items():
        if len(some) > 1 or options.together:  # else it has been alone
            where = [f"{node.name}:{ost}" for node in some for ost in osts[node.name]]
            yield _Driven(some[0], tuple(some), tuple(where), host=host)


def _of_client(node: Node) -> _Driven:
    """Through its OSCs; each gets an echo client, since the script of 2.15 and later makes none for them."""
    oscs = tuple(name for name, _ in _devices(node, "osc") if "-osc-MDT" not in name)
    if not oscs:
        raise WorkloadError(f"obdfilter_survey: no file system is mounted on {node.name}", hint="vmlab fs mount BED")
    return _Driven(node, (node,), tuple(f"{osc}_ecc" for osc in oscs), devices=oscs)


def _of_server(node: Node, server: Node) -> _Driven:
    """The survey sets up an OSS without OSTs, and takes down the server's own if it has one: then it must not run."""
    if _devices(server, "obdfilter") or _devices(server, "ost"):
        raise WorkloadError(
            f"obdfilter_survey: the survey of a network would take down the OSS of {server.name}",
            hint="vmlab fs umount BED",
        )
    if _devices(node, "osc"):
        raise WorkloadError(
            f"obdfilter_survey: a file system is mounted on {node.name}, and the survey of a network needs its OSCs",
            hint="vmlab fs umount BED",
        )
    theirs = {nid.net for nid in lnetctl.nids(node.facts.get("nets", ""))}
    nids = [nid for nid in lnetctl.nids(server.facts.get("nets", "")) if nid.net in theirs]
    nid = next((nid for nid in nids if isinstance(nid.address, IPv4Address)), None)
    if nid is None:
        raise WorkloadError(
            f"obdfilter_survey: {node.name} and {server.name} are on no LNet network together",
            hint="vmlab lnet show BED",
        )
    require("obdfilter_survey", "lctl", [server])
    return _Driven(node, (node, server), (str(nid.address),), words=(f"NETTYPE={nid.net}",))


def _has_echo_over_osc(nodes: Sequence[Node]) -> None:
    """Raises WorkloadError if a node's lctl is of a Lustre that has not."""
    for node in nodes:
        version = re.search(r"\b(\d{1,4})\.(\d{1,4})\b", node.facts.get("version", ""))
        if version and (int(version[1]), int(version[2])) >= _WITHOUT_ECHO_OVER_OSC:
            raise WorkloadError(f"obdfilter_survey: {_NO_ECHO_OVER_OSC}", hint="--set case=disk")


def _fit(options: Options, nodes: Sequence[Node]) -> None:
    """Raises WorkloadError if an OST has not that much space."""
    for node in nodes if options.case == "disk" else ():
        for ost, free in re.findall(r"obdfilter\.(\S+)\.kbytesavail=(\d{1,18})\b", node.facts.get("space", "")):
            if options.size > (int(free) << 10) * _FREE:
                raise WorkloadError(
                    f"obdfilter_survey: {options.size} do not fit into the {int(free) >> 10}MiB that are free in {ost}",
                    hint=f"--set size={max(1, int(int(free) * _FREE) >> 10)}MiB",
                )


def _measurements(options: Options, driven: _Driven) -> Iterator[Measurement]:
    names = [node.name for node in driven.nodes]
    for objects, threads in _rows(options):
        name = f"{options.case}.{fold(names)}.{objects}-{threads}"
        if driven.skipped:
            yield Measurement(name=name, labels={}, skipped=driven.skipped)
            continue
        labels = {
            "case": options.case,
            "nodes": driven.called,
            "osts": str(len(driven.targets)),
            "size": str(int(options.record)),
            "objects": str(objects),
            "threads": str(threads),
        }
        if options.case == "network":
            del labels["osts"]
        if driven.host:
            labels[ON_HOST] = driven.host
        hosts = " ".join(dict.fromkeys((driven.driver.name, *names)))
        settings = (
            *(f"case={options.case}", f"targets={' '.join(driven.targets)}", f"size={options.size >> 20}"),
            *(f"rszlo={options.record >> 10}", f"rszhi={options.record >> 10}"),
            *(f"nobjlo={objects}", f"nobjhi={objects}", f"thrlo={threads}", f"thrhi={threads}"),
            *(f"tests_str={' '.join(options.tests)}", *driven.words),
        )
        words = (_FOLDER, str(options.timeout_s), hosts, _CLEAN, _LEFT, " ".join(driven.devices))
        yield Measurement(
            name=name,
            labels=labels,
            tasks=(
                Task(
                    name=_TASK,
                    node=driven.driver.name,
                    argv=("sh", "-c", _SURVEY, "vmlab", *words, *settings),
                    deadline_s=float(options.timeout_s + _TIDY_S),
                    brings=(_DETAIL,),
                ),
            ),
        )


# --- reading -------------------------------------------------------------------------------------------------------

# Lustre 1.8 has no K behind the record.
_LINE = re.compile(
    r"^ost +(\d{1,6}) sz +(\d{1,18})K rsz +(\d{1,6})K? obj +(\d{1,9}) thr +(\d{1,9}) (.*)$", re.MULTILINE
)
_FIGURE = r"[0-9]{1,12}\.[0-9]{2}"
_TEST = re.compile(rf"([a-z_]{{1,20}}) +({_FIGURE}) +(?:\[ *({_FIGURE}), *({_FIGURE})\]|(ERROR|SHORT)) *")
_DONE = re.compile(r"^done!$", re.MULTILINE)
_SETTING = re.compile(r"(nobjlo|nobjhi|thrlo|thrhi|rszlo|rszhi|tests_str|targets)=(.*)")
_DEFAULTS = MappingProxyType(
    {"nobjlo": "1", "nobjhi": "16", "thrlo": "1", "thrhi": "16", "rszlo": "1024", "rszhi": "1024"}
    | {"tests_str": "write rewrite read"}
)
_REFUSED = re.compile(r"error: test_brw-\d+: #\d+ - Invalid argument on ")
_COMPLAINT = re.compile(r"^.*\berror\b.*$", re.MULTILINE)


class _Figures(NamedTuple):
    """MiB/s; all void if there is a `word`."""

    whole: float
    lowest: float
    highest: float
    word: str


class _Row(NamedTuple):
    """What stands in one line, with objects and threads of each OST. `record`: KiB."""

    osts: int
    record: int
    objects: int
    threads: int
    tests: Mapping[str, _Figures]

    @property
    def told(self) -> str:
        """Which it is, in a sentence."""
        return f"{self.objects} objects, {self.threads} threads"


def _report(text: str) -> list[_Row]:
    """Raises WorkloadError for a row that is cut off, or is none."""
    return [_row(line) for line in _LINE.finditer(text)]


def _row(line: re.Match[str]) -> _Row:
    osts, _, record, objects, threads = map(int, line.groups()[:-1])
    rest, tests = line[6].strip() + " ", dict[str, _Figures]()
    while rest.strip():
        found = _TEST.match(rest)
        if found is None or found[1] in tests:
            raise WorkloadError(f"a row of {_TOOL} is cut off, or none: {quote(line[0].strip()[-60:])}")
        tests[found[1]] = _Figures(float(found[2]), float(found[3] or 0), float(found[4] or 0), found[5] or "")
        rest = rest[found.end() :]
    if not osts or objects % osts or threads % osts or not tests:
        raise WorkloadError(f"a row of {_TOOL} is none: {quote(line[0].strip()[:60])}")
    return _Row(osts, record, objects // osts, threads // osts, tests)


def _settings(measurement: Measurement) -> Mapping[str, str]:
    """The survey's variables, as its command line has them."""
    words = [found for task in measurement.commands for found in map(_SETTING.fullmatch, task.argv) if found]
    return _DEFAULTS | {found[1]: found[2] for found in words}


def _doubled(lowest: str, highest: str) -> list[int]:
    """As the script's loops count."""
    found = []
    number, most = (int(text) if re.fullmatch("[0-9]{1,9}", text) else 0 for text in (lowest, highest))
    while 0 < number <= most:
        found.append(number)
        number *= 2
    return found


def _whole(found: Sequence[_Row], settings: Mapping[str, str], text: str) -> None:
    """Raises WorkloadError unless all rows and tests that were asked for are there, and the survey's end."""
    end = _DONE.search(text, max(line.end() for line in _LINE.finditer(text)))
    records, objects, threads = (
        _doubled(settings[f"{name}lo"], settings[f"{name}hi"]) for name in ("rsz", "nobj", "thr")
    )
    wanted = [(r, o, t) for r in records for o in objects for t in threads if not t % o]
    have = [(row.record, row.objects, row.threads) for row in found]
    if end is None or have != wanted:
        raise WorkloadError(f"{_TOOL}'s table is cut off: {len(have)} of {len(wanted)} rows are there, as asked for")
    tests = settings["tests_str"].split()
    for row in found:
        if list(row.tests) != tests:
            raise WorkloadError(f"{_TOOL} was to measure {', '.join(tests)}, and {', '.join(row.tests)} are there")
        if "targets" in settings and row.osts != len(settings["targets"].split()):
            raise WorkloadError(f"{_TOOL} drove {row.osts} of {len(settings['targets'].split())} targets")
        if still := [test for test, one in row.tests.items() if not one.word and not (one.whole and one.highest)]:
            raise WorkloadError(f"{_TOOL} moved nothing by {', '.join(still)} of {row.told}")


def _samples(measurement: Measurement, row: _Row) -> Iterator[Sample]:
    own = {"size": str(row.record << 10), "objects": str(row.objects), "threads": str(row.threads)}
    for test, figures in row.tests.items():
        labels = {**measurement.labels, **own, "operation": test}
        for metric, value in ((_BANDWIDTH, figures.whole), (_MIN, figures.lowest), (_MAX, figures.highest)):
            if not figures.word:
                yield Sample(metric, value, labels)


def _detail(output: Output) -> str:
    return output.files[_DETAIL].decode(errors="replace") if _DETAIL in output.files else ""


def _refused(measurement: Measurement, output: Output) -> bool:
    """Whether Lustre took an echo client over an OSC and has nothing that it could do."""
    return measurement.labels.get("case") in ("netdisk", "network") and _REFUSED.search(_detail(output)) is not None


def _said(detail: str) -> str:
    """The first thing that an OST complained of, and which OST."""
    where = ""
    for line in detail.splitlines():
        if title := re.match(r"=+> \w+ (?:[^\s:]*:)?(\S+)_ecc", line):
            where = title[1]
        if _COMPLAINT.match(line):
            return f"{where} answered {quote(line.strip()[:160])}" if where else line.strip()[:160]
    return ""
