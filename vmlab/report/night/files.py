"""What a night leaves for people and for CI, beside its record."""

from pathlib import Path

from vmlab.errors import HostError
from vmlab.records.night import NightRecord
from vmlab.report.night.junit import junit
from vmlab.report.night.page import page
from vmlab.report.night.summary import markdown
from vmlab.report.pages import html
from vmlab.runtime.files import write_atomically
from vmlab.store.nights import before, latest

PAGE, SUMMARY, JUNIT = "night.html", "night.md", "junit.xml"
_NIGHTS = 14


def written(nights: Path, name: str, to: Path | None) -> Path | None:
    """Write page, summary and JUnit XML of the latest night of this name, into `to`, too; None if there is none."""
    folder, record = latest(nights, name)
    if folder is None or record is None:
        return None
    made = made_of(record, before(nights, name, record.id, _NIGHTS))
    for place in (folder, *([to] if to is not None else [])):
        for file, content in made.items():
            try:
                write_atomically(place / file, content)
            except OSError as error:
                raise HostError(f"{place / file}: {error.strerror}", hint="--to DIR") from error
    return folder / PAGE


def made_of(record: NightRecord, earlier: tuple[NightRecord, ...]) -> dict[str, str | bytes]:
    """The files by their names. `earlier` are the nights before, oldest first."""
    return {PAGE: html.render(page(record, earlier)), SUMMARY: markdown(record), JUNIT: junit(record)}
