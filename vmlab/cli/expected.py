"""expected list, add, rm: what is known of tests before they run."""

from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Form, Output, option

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Expected results, a file of known failures: list, add, rm.",
)
_File = Annotated[Path, typer.Argument(metavar="FILE", help="The file that a night names as `expected`.")]
_Suite = Annotated[str, typer.Argument(metavar="SUITE", help="A suite of Lustre's, or a step's workload.")]
_Tests = Annotated[list[str], typer.Argument(metavar="TEST...", help="Sub-tests, such as 27J, or the step's name.")]
_Where = Annotated[
    list[str] | None,
    option("--where", metavar="CONDITION=VALUE", help="Only there: backend=zfs, version=2.15.*, entry=..."),
]


@app.command("list")
def list_(file: _File, output: Output = Form.TABLE) -> None:
    """Show what is expected, and check the file.

    \b
    Example:
      vmlab expected list expected.yaml
    """
    from vmlab.judgement.expectations import load
    from vmlab.report.judgement import expected_table
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show

    found = load(file)
    if output is Form.JSON:
        typer.echo(dumped(found))
    else:
        show(expected_table(found))


@app.command()
def add(
    file: _File,
    suite: _Suite,
    tests: _Tests,
    ticket: Annotated[str, option("--ticket", metavar="TICKET", help="Why: LU-18102.")],
    flaky: Annotated[
        float | None, option("--flaky", metavar="PART", help="In which part of its runs it fails; absent: in all.")
    ] = None,
    reason: Annotated[str, option("--reason", help="In words.")] = "",
    where: _Where = None,
) -> None:
    """Write a known failure into the file.

    The file is made if it is absent. What it has stays as it is, remarks too. It is checked as a night checks it
    before it is written.

    \b
    Examples:
      vmlab expected add expected.yaml sanity 27J 270a --ticket LU-18102
      vmlab expected add expected.yaml sanity 398m --ticket LU-17253 --where backend=zfs
      vmlab expected add expected.yaml replay-single 59 --ticket LU-1 --flaky 0.1
    """
    from vmlab.judgement.listed import with_expected
    from vmlab.topology.loader import text_of

    more = {"flaky": flaky, "reason": reason, "where": _conditions(where)}
    one = {"suite": suite, "tests": tests, "ticket": ticket, **{key: value for key, value in more.items() if value}}
    text = text_of(file) if file.exists() else ""
    _write(file, with_expected(text, str(file), one))


@app.command()
def rm(file: _File, suite: _Suite, tests: _Tests, where: _Where = None) -> None:
    """Take tests out of the file: they pass by now.

    \b
    Example:
      vmlab expected rm expected.yaml sanity 27J
    """
    from vmlab.judgement.listed import without_expected
    from vmlab.topology.loader import text_of

    text, gone = without_expected(text_of(file), str(file), suite, tests, _conditions(where))
    _write(file, text)
    for one in gone:
        typer.echo(f"{one.suite} {one.test} ({one.ticket}) is not expected to fail any more", err=True)


def _conditions(where: list[str] | None) -> dict[str, str]:
    from vmlab.errors import UsageError

    found = {}
    for one in where or ():
        name, given, value = one.partition("=")
        if not (name and given and value):
            raise UsageError(f"--where {one!r:.40} is no condition (expected a form such as backend=zfs)")
        found[name] = value
    return found


def _write(file: Path, text: str) -> None:
    from vmlab.errors import HostError
    from vmlab.runtime.files import write_atomically

    try:
        write_atomically(file, text, mode=file.stat().st_mode & 0o777 if file.exists() else 0o644)
    except OSError as error:
        raise HostError(f"{file}: {error.strerror}", hint=f"ls -ld {file.parent}") from error
