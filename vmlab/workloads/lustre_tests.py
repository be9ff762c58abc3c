"""Lustre's own suites by its test framework: auster, once for each suite, with limits that it lacks.

    lustre_tests:
      suites: [sanity, replay-single]
      except: [27oo]
      subtest_limit_s: 1800

or `test_parameters: "testlist=sanity mdtcount=2 env=SLOW=yes"`, as developers write them. The nodes are prepared:
users, the framework's configuration, a directory that all share by NFS from the node that runs the tests. The framework
formats what it runs on.

A sub-test that takes too long is ended alone; where that is not enough, or a kernel died, auster is ended, all nodes
begin anew by their power, and the rest goes on behind that sub-test. Evidence is collected first.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from typing_extensions import override

from vmlab.errors import UsageError, WorkloadError
from vmlab.metrics import Metric, Sample, Unit
from vmlab.shell import script
from vmlab.suites.auster import Part, command, suites_of
from vmlab.suites.cfg import driver_of
from vmlab.suites.consoles import Event
from vmlab.suites.course import SAID, Begun, Key, asked, rest, suite_run
from vmlab.suites.outcomes import BAD, Status
from vmlab.suites.parameters import Session, lacking, sessions
from vmlab.suites.results import Seen, SuiteRun
from vmlab.suites.shape import Shape, shape_of
from vmlab.suites.skips import Skip, skips
from vmlab.topology import Topology
from vmlab.values.nodeset import fold
from vmlab.workloads import Bed, Deed, Job, Long, Measurement, Node, Output, Outputs, Task, Workload, register
from vmlab.workloads._lustre_tests_place import FACTS, HOME, SHARED, Place, mode_of, taking

_PASSED = Metric("passed", "sub-tests", "higher", "suites", "sub-tests that passed")
_BAD = Metric("failed", "sub-tests", "lower", "suites", "that failed, took too long, or in which the bed died")
_SKIPPED = Metric("skipped", "sub-tests", "lower", "suites", "that said why they do not run here")
_NOT_RUN = Metric("not_run", "sub-tests", "lower", "suites", "that were to run, and did not")
_SECONDS = Metric(
    "seconds", Unit.SECONDS, "lower", "time", "how long the suite took; where it was ended, with all before it"
)

_LOGS = f"{SHARED}/logs"
_UMOUNT = "umount"
_AUSTER, _BROUGHT = "auster", "logs"

_RUN = script(__file__, "lustre_tests_run.sh")
_END = script(__file__, "lustre_tests_end.sh")
_BRING = script(__file__, "lustre_tests_logs.sh")

_BRING_S = 600.0
_REVIVE_S = 7200.0
_UMOUNT_S = 1200.0
_NAMED = 20

# Sub-tests, setup and clean-up begin parts; what ends them begins what is between.
_CLOCK = r"\d\d:\d\d:\d\d \(\d+\)"
_PART = "|".join(
    (
        rf"== (\S+) test (\w+): .*== {_CLOCK}\s*",
        rf"=== (\S+): start (setup|cleanup) {_CLOCK} ===\s*",
        r"(?:PASS|FAIL|SKIP) \w+ \(\d+s\)\s*",
        r"=== \S+: finish (?:setup|cleanup) .*",
        r"== \S+ test complete, duration .*",
        r"-----=+ acceptance-small: .*",
    )
)


def _text(value: object) -> object:
    """270 is a number for YAML, and a name here; what is not a list is the only one of it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _variable(value: object) -> object:
    """As the framework writes it, which YAML takes for something else: yes, 3."""
    return ("no", "yes")[value] if isinstance(value, bool) else _text(value)


_Name = Annotated[str, BeforeValidator(_text), StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,60}$")]


class Options(BaseModel):
    """What may be written below `lustre_tests:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: str | None = Field(None, description="the node that runs the tests (default: the first client)")
    suites: tuple[_Name, ...] = Field((), description="suites, in their order")
    group: str | None = Field(None, description="a group of suites that ships with the tests: regression")
    only: tuple[_Name, ...] = Field((), description="sub-tests that run; 27 is 27a, too")
    except_: tuple[_Name, ...] = Field((), alias="except", description="sub-tests that do not run")
    start_at: _Name | None = Field(None, description="the first sub-test")
    stop_at: _Name | None = Field(None, description="the last sub-test")
    repeat: int = Field(1, ge=1, le=1000, description="how often all of it runs")
    subtest_limit_s: int = Field(3600, ge=1, le=7 * 86_400, description="what a sub-test may take")
    suite_limit_s: int = Field(8 * 3600, ge=1, le=7 * 86_400, description="what a suite may take")
    limit_s: int | None = Field(None, ge=1, le=7 * 86_400, description="what all of it may take")
    env: dict[str, Annotated[str, BeforeValidator(_variable)]] = Field(
        default_factory=dict, description="variables of the framework: {SLOW: yes}"
    )
    test_parameters: str = Field("", description="`Test-Parameters:` lines instead: what runs, and on which bed")
    anyway: bool = Field(default=False, description="run though the bed is not the one that test_parameters ask for")


@dataclass(frozen=True, slots=True)
class _Planned:
    """One suite that is to run: in which measurement, with which variables and options of auster."""

    name: str
    part: Part
    environment: Mapping[str, str]
    auster: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfSuite(Measurement):
    """With what is needed to begin auster, and to begin it again: `names` are the sub-tests that are to run."""

    planned: _Planned
    names: tuple[str, ...]
    place: Place


@register
class LustreTests(Workload[Options]):
    """A measurement for each suite; auster is begun in it as often as it takes."""

    name = "lustre_tests"
    summary = "Lustre's own suites by its test framework: a result for each sub-test, with limits and evidence"
    options = Options
    metrics = (_PASSED, _BAD, _SKIPPED, _NOT_RUN, _SECONDS)
    packages = ("lustre-tests", "lustre", "lustre-client-utils", "lustre-server-utils")
    facts = MappingProxyType({"tests": FACTS})

    def __init__(self, bed: Callable[[], Bed] | None = None) -> None:
        self._bed = bed

    @override
    def of_bed(self, bed: Callable[[], Bed]) -> Self:
        return type(self)(bed)

    @override
    def takes_part(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        bed = self._laid_out()
        _planned(options)
        names = taking(bed, driver_of(bed.topology, options.nodes))
        if foreign := sorted(names & bed.topology.externals.keys()):
            raise WorkloadError(f"{self.name}: {fold(foreign)} is no guest, and the tests change all that they run on")
        return tuple(node.name for node in nodes if node.name in names)

    @override
    def measurements(self, options: Options, nodes: Sequence[Node]) -> tuple[tuple[Measurement, ...], ...]:
        place = self._place(options, nodes)
        place.check()
        _refuse_another(options, place)
        rounds: list[tuple[Measurement, ...]] = []
        if place.mounted:
            deed = Deed(name=_UMOUNT, verb="umount", argv=("vmlab", "fs", "umount", "BED"), deadline_s=_UMOUNT_S)
            rounds.append((Measurement(name=_UMOUNT, labels={}, tasks=(deed,)),))
        for planned in _planned(options):
            names = asked(planned.part, place.suites.get(planned.part.suite, ()))
            tasks = place.prepare(1, planned.environment)
            labels = {"suite": planned.part.suite}
            rounds.append(
                (_OfSuite(name=planned.name, labels=labels, tasks=tasks, planned=planned, names=names, place=place),)
            )
        return tuple(rounds)

    @override
    def foretold(self, options: Options, nodes: Sequence[Node]) -> tuple[str, ...]:
        place = self._place(options, nodes)
        told = [f"{place.driver} runs {place.tests}/auster"]
        if not place.shared:
            told.append(f"not all nodes share a directory: {place.not_shared}")
        told += _not_this_bed(options, place.shape)
        for session in _sessions(options):
            told += [f"test_parameters: {key}={value} is not looked at" for key, value in session.wanted.images.items()]
        told += _skipped(options, place.shape, lambda suite, _: place.suites.get(suite, ()))
        return tuple(dict.fromkeys(told))

    @override
    def in_advance(self, options: Options, topology: Topology) -> tuple[str, ...]:
        driver = driver_of(topology, options.nodes)

        def shape(environment: Mapping[str, str]) -> Shape:
            # What the nodes will have, a shared directory too, is not known yet, and nothing is said of it.
            return shape_of(topology, failure_mode=mode_of(topology, driver, environment), shared=True)

        told = (*_not_this_bed(options, shape), *_skipped(options, shape, lambda _, skipped: skipped))
        return tuple(dict.fromkeys(told))

    @override
    def limit_s(self, options: Options) -> float:
        return inf if options.limit_s is None else float(options.limit_s)

    @override
    def more(
        self, options: Options, measurement: Measurement, outputs: Outputs, left_s: float
    ) -> tuple[Task | Job, ...]:
        if not isinstance(measurement, _OfSuite):
            return ()
        austers = _austers(outputs)
        suite_s = min(left_s, options.suite_limit_s - sum(one.seconds for one in austers))
        if not austers:
            return (_auster(options, measurement, measurement.planned.part, number=1, left_s=suite_s),)
        number = len(austers)
        if _brought(number) not in outputs:
            return (_bring(measurement.place, _brought(number)),)
        if left_s <= 0 or not (_broken(austers[-1]) or _lost(outputs[_brought(number)])):
            return ()
        # The next suite is to find a sound bed, whatever is left of this one.
        return _mend(measurement.place, number, outputs) or _again(options, measurement, outputs, suite_s)

    @override
    def parse(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[Sample, ...]:
        if not isinstance(measurement, _OfSuite):
            return ()
        suite = _suite_run(measurement, outputs)
        if all(test.status is Status.NOT_RUN for test in suite.tests):
            raise WorkloadError(f"auster ran nothing of {suite.suite}: {_complaint(outputs)}")
        labels = {"suite": suite.suite}
        counts = {
            _PASSED: (Status.PASS,),
            _BAD: tuple(BAD),
            _SKIPPED: (Status.SKIP,),
            _NOT_RUN: (Status.NOT_RUN,),
        }
        samples = [
            Sample(metric, float(sum(test.status in statuses for test in suite.tests)), labels)
            for metric, statuses in counts.items()
        ]
        samples += [Sample(_SECONDS, suite.seconds, labels)] if suite.seconds is not None else []
        return tuple(samples)

    @override
    def sanity(
        self, options: Options, measurement: Measurement, outputs: Outputs, samples: Sequence[Sample]
    ) -> tuple[str, ...]:
        del options, samples
        if not isinstance(measurement, _OfSuite) or not _austers(outputs):
            return ()
        suite = _suite_run(measurement, outputs)
        told = [f"{test.test}: {test.status}: {test.why}" for test in suite.tests if test.status in BAD]
        if len(told) > _NAMED:
            told[_NAMED:] = [f"and {len(told) - _NAMED} more of its sub-tests went wrong"]
        missing = [test for test in suite.tests if test.status is Status.NOT_RUN]
        if missing and len(missing) < len(suite.tests):
            told.append(f"{len(missing)} of its sub-tests did not run: {missing[0].why}")
        if suite.status in BAD and not told:
            told.append(f"{suite.status}: {suite.why or 'nothing says why'}")
        return tuple(told)

    @override
    def notes(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[str, ...]:
        del options, measurement
        return tuple(
            line
            for name, output in outputs.items()
            if name.startswith(f"{_BROUGHT}")
            for line in output.stdout.splitlines()
            if line.startswith("left out: ")
        )

    @override
    def tests(self, options: Options, measurement: Measurement, outputs: Outputs) -> tuple[SuiteRun, ...]:
        del options
        return (_suite_run(measurement, outputs),) if isinstance(measurement, _OfSuite) else ()

    def _place(self, options: Options, nodes: Sequence[Node]) -> Place:
        bed = self._laid_out()
        return Place.of(bed, driver_of(bed.topology, options.nodes), nodes)

    def _laid_out(self) -> Bed:
        if self._bed is None:
            raise UsageError(
                f"{self.name} has to know the topology of the bed, and its file is not here",
                hint=f"vmlab run FILE {self.name}",
            )
        return self._bed()


# --- what is to run ------------------------------------------------------------------------------------------------


def _sessions(options: Options) -> tuple[Session, ...]:
    """Those of `test_parameters`. Raises UsageError if it says what is not known."""
    found = sessions(options.test_parameters)
    if wrong := [problem for session in found for problem in session.problems]:
        raise UsageError(f"lustre_tests: test_parameters: {'; '.join(wrong)}", hint="vmlab workloads lustre_tests")
    return found


def _planned(options: Options) -> tuple[_Planned, ...]:
    """In their order, each with a name of its own. Raises UsageError if nothing is to run, or it is said twice."""
    said = {"suites": options.suites, "group": options.group, "test_parameters": options.test_parameters}
    given = [name for name, value in said.items() if value]
    if len(given) != 1:
        told = f"both {' and '.join(given)}" if given else "nothing"
        raise UsageError(
            f"lustre_tests: {told} is to run (expected one of suites, group, test_parameters)",
            hint="--set suites=sanity",
        )
    once = [
        (part, {**session.environment, **options.env}, session.auster)
        for session in _sessions(options)
        for part in session.parts
    ] or [(part, options.env, ()) for part in _parts(options)]
    if not once:
        raise UsageError("lustre_tests: test_parameters names no suite", hint="testlist=sanity")
    found: list[_Planned] = []
    seen: dict[str, int] = {}
    for part, environment, words in once * options.repeat:
        seen[part.suite] = seen.get(part.suite, 0) + 1
        name = part.suite if seen[part.suite] == 1 else f"{part.suite}.{seen[part.suite]}"
        found.append(_Planned(name, part, environment, words))
    return tuple(found)


def _parts(options: Options) -> Iterator[Part]:
    for suite in options.suites or (suites_of(options.group) if options.group else ()):
        yield Part(suite, options.only, options.except_, options.start_at or "", options.stop_at or "")


def _refuse_another(options: Options, place: Place) -> None:
    """Raises WorkloadError if the bed is not the one that test_parameters ask for."""
    for session in () if options.anyway else _sessions(options):
        if wrong := lacking(session.wanted, place.shape(session.environment)):
            raise WorkloadError(
                f"lustre_tests: this bed is not the one of test_parameters: {'; '.join(wrong)}",
                hint="another topology; or run it all the same: --set anyway=true",
            )


def _not_this_bed(options: Options, shape: Callable[[Mapping[str, str]], Shape]) -> Iterator[str]:
    """What it lacks of the bed that test_parameters ask for; `shape` is what the suites see, by their environment."""
    for session in _sessions(options):
        yield from (f"test_parameters: {lack}" for lack in lacking(session.wanted, shape(session.environment)))


def _skipped(
    options: Options,
    shape: Callable[[Mapping[str, str]], Shape],
    listed: Callable[[str, tuple[str, ...]], tuple[str, ...]],
) -> Iterator[str]:
    """What will be skipped, and why. `listed`: the sub-tests of a suite, in which those that are skipped are."""
    for planned in _planned(options):
        for skip in skips((planned.part.suite,), shape(planned.environment)):
            if told := _foretold(skip, asked(planned.part, listed(planned.part.suite, skip.tests))):
                yield told


def _foretold(skip: Skip, names: Sequence[str]) -> str:
    """In words; "" where it is of sub-tests that are not to run."""
    wanted = [name for name in skip.tests if not names or name in names]
    if skip.tests and not wanted:
        return ""
    what = f"{skip.suite} {' '.join(wanted)}".strip()
    return f"{what} will {'fail' if skip.fails else 'be skipped'}: {skip.why}"


# --- auster, and what it left --------------------------------------------------------------------------------------


def _mend(place: Place, number: int, outputs: Outputs) -> tuple[Task, ...]:
    """What is to be done to a bed that broke, and has not been; the logs of a node that was dead come after that."""
    revive, brought = f"revive.{number}", _brought(number, "-again")
    if revive not in outputs:
        words = ("vmlab", "power", "cycle", "BED", "*")
        return (Deed(name=revive, verb="revive", argv=words, deadline_s=_REVIVE_S),)
    if _lost(outputs[_brought(number)]) and brought not in outputs:
        return (_bring(place, brought),)
    return ()


def _again(options: Options, measurement: _OfSuite, outputs: Outputs, left_s: float) -> tuple[Task | Job, ...]:
    """Begin auster for the rest; nothing if there is none, or no time for it."""
    planned = measurement.planned
    part = rest(planned.part, measurement.names, _begun(outputs))
    if part is None or left_s <= 0:
        return ()
    number = len(_austers(outputs)) + 1
    prepare = measurement.place.prepare(number, planned.environment)
    return (*prepare, _auster(options, measurement, part, number=number, left_s=left_s))


def _auster(options: Options, measurement: _OfSuite, part: Part, *, number: int, left_s: float) -> Long:
    place, planned = measurement.place, measurement.planned
    words = command(f"{place.tests}/auster", f"{HOME}/{place.file}", _LOGS, (part,), ("-r", *planned.auster))
    return Long(
        name=f"{_AUSTER}.{number}",
        node=place.driver,
        argv=("sh", "-c", _RUN, "vmlab", _LOGS, *words),
        deadline_s=max(1.0, left_s),
        part=_PART,
        part_s=float(options.subtest_limit_s),
        end_part=("sh", "-c", _END, "vmlab"),
    )


def _bring(place: Place, name: str) -> Task:
    argv = ("sh", "-c", _BRING, "vmlab", _LOGS)
    return Task(
        name=name,
        node=place.driver,
        argv=argv,
        deadline_s=_BRING_S,
        brings=("*.yml", "*.log", "*.gz"),
        optional=True,
    )


def _austers(outputs: Outputs) -> list[Output]:
    """Of each time that it was begun."""
    return [output for name, output in outputs.items() if name.startswith(f"{_AUSTER}.")]


def _brought(number: int, more: str = "") -> str:
    """The task that brings the logs."""
    return f"{_BROUGHT}{more}.{number}"


def _lost(output: Output) -> bool:
    """The logs could not be brought: a node died when the suite was over already."""
    return not output.ok


def _broken(output: Output) -> bool:
    """It was ended, and with it the bed is not to be trusted."""
    return any(cut.whole for cut in output.cuts)


def _key(part: str) -> Key:
    """Of what `_PART` calls a part."""
    suite, _, test = part.partition(" ")
    return suite, f"test_{test}"


def _begun(outputs: Outputs) -> list[Begun]:
    return [_one_begun(number, output, outputs) for number, output in enumerate(_austers(outputs), start=1)]


def _one_begun(number: int, output: Output, outputs: Outputs) -> Begun:
    task, brought = next(
        (
            (name, outputs[name])
            for name in (_brought(number, "-again"), _brought(number))
            if name in outputs and outputs[name].files
        ),
        ("", Output(0, "", "", 0.0)),
    )
    whole = next((cut for cut in output.cuts if cut.whole), None)
    named = [cut for cut in output.cuts if cut.part]
    crashes = {_key(cut.part): cut.why for cut in named if cut.dead}
    seen: dict[Key, tuple[Seen, ...]] = {}
    for node, events in output.events.items():
        for event in events:
            key = event.test or (_key(whole.part) if whole is not None and whole.part else None)
            if key is None:
                continue
            seen[key] = (*seen.get(key, ()), Seen(node, str(event.kind), event.line, event.lines))
            if _deadly(event):
                crashes.setdefault(key, f"{node}: {event.line}")
    texts = (".yml", ".log")
    return Begun(
        output.stdout,
        {name: data.decode(errors="replace") for name, data in brought.files.items() if name.endswith(texts)},
        {_key(cut.part): cut.why for cut in named if not cut.dead},
        crashes,
        {_key(cut.part): cut.evidence for cut in named},
        seen,
        whole.why if whole is not None else "",
        whole.dead if whole is not None else False,
        output.seconds,
        {SAID: f"{_AUSTER}.{number}/stdout", **{name: f"{task}/{name}" for name in brought.files}},
    )


def _deadly(event: Event) -> bool:
    return (event.dead or event.stuck) and not event.asked


def _suite_run(measurement: _OfSuite, outputs: Outputs) -> SuiteRun:
    begun = _begun(outputs)
    why_not = "nothing ran it" if begun else "it was not begun"
    return suite_run(measurement.planned.part, measurement.names, begun, why_not)


_WHY_NOT = re.compile(r"Can't find test script for \S+|.*(?i:\berror\b|failed|cannot|not mounted after setup).*")


def _complaint(outputs: Outputs) -> str:
    """What auster complained of, or why it was not begun."""
    last = next(reversed(_austers(outputs)), None)
    if last is None:
        return "it was not begun"
    said = next(filter(_WHY_NOT.fullmatch, last.stdout.splitlines()), "").strip()
    return next((cut.why for cut in last.cuts), "") or said or last.cause
