"""What became of suites, as the record of a run keeps it: plain values, one for each round of each sub-test."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node's kernel said on its console, as `suites.consoles.Event`: the first line of it, and those around."""

    node: str
    kind: str
    line: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubTest:
    """One round of one sub-test, called as results.yml calls it (`test_27J`); `status` is of `suites.outcomes.Status`.

    `why` is its first error, or why it was skipped or did not run, in one line; `place` is FILE:LINE FUNCTION, `before`
    what stood in front of the error, `later` are the errors behind it. `ignored`: an error in spite of which it passed.
    `symptom_of`: a clean-up that went wrong because of that sub-test. `seen` is from the consoles meanwhile.

    `log` is a file of the run's folder, "" if there is none: nobody knows then what else it said. `evidence` is a
    folder there, of what was collected before it was ended, "" if it was not.
    """

    suite: str
    test: str
    status: str
    seconds: float | None = None
    why: str = ""
    place: str = ""
    before: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    ignored: str = ""
    symptom_of: str = ""
    round: int = 1
    rounds: int = 1
    notes: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    log: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """One run of a suite, from its beginning to its end, though it may have been begun again in between.

    `begun` counts how often: each time but the first because a limit, or the bed, had ended it. `status` is the worst
    of these; `why` says what no sub-test tells. `measurement` and `trial` are those of the run that it is of.
    """

    suite: str
    status: str
    seconds: float | None
    why: str = ""
    begun: int = 1
    tests: tuple[SubTest, ...] = field(default_factory=tuple)
    measurement: str = ""
    trial: int = 1
