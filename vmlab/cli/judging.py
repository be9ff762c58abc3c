"""results reference: what was measured as that by which is judged."""

import re
from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import option

_PERCENT = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?%")
_UNBOUNDED = "none"


def add_to(results: typer.Typer) -> None:
    """Let `results` have the commands of this file."""
    results.command("reference")(reference)


def reference(
    run: Annotated[
        str,
        option("--from", metavar="RUN", help="A run's ID; absent: the latest.", autocompletion=complete.runs),
    ] = "",
    to: Annotated[Path | None, option("--to", "-o", help="File to write, which must not exist; absent: print.")] = None,
    lower: Annotated[str, option("--lower", metavar="PERCENT", help="How far below is well; or none.")] = "5%",
    upper: Annotated[str, option("--upper", metavar="PERCENT", help="How far above is well; or none.")] = "5%",
) -> None:
    """Write a run's figures as references, to edit and commit.

    \b
    Examples:
      vmlab results reference --from 20260801T020000Z-ha-rdma -o refs.yaml
      vmlab results reference --lower 10% --upper none
    """
    from vmlab.errors import UsageError
    from vmlab.judgement.written import written
    from vmlab.lab.measuring.run import runs_dir
    from vmlab.store.runs import latest, read

    record = read(runs_dir(), run) if run else latest(runs_dir())[0]
    if record is None:
        raise UsageError("there are no runs yet", hint="vmlab run BED WORKLOAD")
    below, above = _fraction("--lower", lower), _fraction("--upper", upper)
    text = written(record, lower=None if below is None else -below, upper=above)
    if to is None:
        typer.echo(text, nl=False)
    else:
        _write(to, text)


def _fraction(name: str, percent: str) -> float | None:
    """Read `5%`, or `none`. Raises UsageError."""
    from vmlab.errors import UsageError

    if percent == _UNBOUNDED:
        return None
    found = _PERCENT.fullmatch(percent)
    most = 100 if name == "--lower" else 10_000
    if found is None or float(found[1]) > most:
        raise UsageError(f"{name} {percent!r:.40} is no bound (expected a form such as 5%, up to {most}%, or none)")
    return round(float(found[1]) / 100, 8)


def _write(to: Path, text: str) -> None:
    """Write a new file: one that is there may have been edited."""
    from vmlab.errors import HostError, UsageError

    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{to} is there already, and may have been edited", hint="name another file") from error
    except OSError as error:
        raise HostError(f"{to}: {error.strerror}") from error
