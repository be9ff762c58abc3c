"""A night in few lines: for the terminal that it ends on, and as Markdown for mail and chat."""

from collections.abc import Iterator, Sequence

from vmlab.records.night import NightFinding, NightRecord, all_tests, counted
from vmlab.report.pages.markdown import escaped

_MOST = 30
_ORDER = ("died", "new failure", "still failing", "fails more often", "flaky", "slower", "fixed", "did not run")
"""Verdicts that somebody wants to read of; the rest passed, was skipped, or is known."""
_KNOWN = "known failure"


def headline(record: NightRecord) -> str:
    """What a subject line says."""
    parts = []
    if record.incomplete:
        parts.append(f"broken off ({record.incomplete})")
    if record.product:
        parts.append(f"{record.product} failed that nobody expected")
    if record.lab:
        parts.append(f"{record.lab} not tested (the lab's fault)")
    return f"{record.name}, {record.started[:10]}: {', '.join(parts) or 'all as expected'}"


def totals(record: NightRecord) -> str:
    """`2 beds, 312 tests: 2 fail, 310 pass`."""
    tests = [test for _, test in all_tests(record)]
    found = ", ".join(f"{number} {status}" for status, number in counted(tests).items())
    beds = sum(len({test.bed for test in entry.tests if test.bed}) or 1 for entry in record.entries)
    return f"{_many(beds, 'bed')}, {_many(len(tests), 'test')}: {found or 'none'}"


def in_short(record: NightRecord, page: str) -> str:
    """For a terminal."""
    lines = [headline(record), totals(record)]
    for verdict in _ORDER:
        some = [one for one in record.findings if one.verdict == verdict]
        lines += [f"  {verdict}: {_named(one)}: {one.why}" for one in some[:_MOST]]
        lines += [f"  {verdict}: {len(some) - _MOST} more"] if len(some) > _MOST else []
    lines += [f"  the lab: {entry.name}: {why}" for entry in record.entries for why in entry.broken]
    return "\n".join([*lines, page, ""])


def markdown(record: NightRecord) -> str:
    """For mail and chat: what is new first, at most some of each kind; the page has all."""
    lines = [f"# {escaped(headline(record))}", "", escaped(totals(record)), ""]
    for verdict in _ORDER:
        lines += _listed(verdict, [one for one in record.findings if one.verdict == verdict])
    broken = [(entry.name, why) for entry in record.entries for why in entry.broken]
    if broken:
        lines += [f"## The lab ({len(broken)})", ""]
        lines += [f"- {escaped(name)}: {escaped(why)}" for name, why in broken[:_MOST]] + _more(broken)
    known = [one for one in record.findings if one.verdict == _KNOWN]
    if known:
        tickets = ", ".join(dict.fromkeys(one.ticket for one in known))
        lines += [f"{_many(len(known), 'known failure')}: {escaped(tickets)}", ""]
    kept = [entry.bed for entry in record.entries if entry.kept]
    lines += [f"Beds that are still up: {escaped(', '.join(kept))}", ""] if kept else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _listed(verdict: str, some: Sequence[NightFinding]) -> Iterator[str]:
    if some:
        yield from (f"## {verdict.capitalize()} ({len(some)})", "")
        yield from (f"- **{escaped(_named(one))}**: {escaped(one.why)}" for one in some[:_MOST])
        yield from _more(some)


def _more(some: Sequence[object]) -> list[str]:
    return [*([f"- and {len(some) - _MOST} more"] if len(some) > _MOST else []), ""]


def _named(one: NightFinding) -> str:
    ticket = f" ({one.ticket})" if one.ticket else ""
    return f"{one.entry}: {one.suite} {one.test}{ticket}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
