"""warm list, rm: templates that nodes are cloned from, running."""

from typing import Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Form, Output, Yes

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Templates that new nodes go on from: list, rm.",
)
_Keys = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY]...", help="How their keys begin; absent: all that are of no use.")
]


@app.command("list")
def list_(output: Output = Form.TABLE) -> None:
    """List the templates, the one that was cloned last first.

    Each was booted once, and its memory kept; `up` makes those that it needs. Of all that there are, those that were
    used last stay: 16 GiB.

    \b
    Example:
      vmlab warm list
    """
    from vmlab.cli.target import here
    from vmlab.lab.hosts.warm import listed
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show, template_table

    with here() as host:
        found = listed(host)
    if output is Form.JSON:
        typer.echo(dumped(found))
    elif found:
        show(template_table(found))
    else:
        typer.echo("no templates: vmlab up FILE makes those that it needs", err=True)


@app.command()
def rm(keys: _Keys = None, yes: Yes = False) -> None:
    """Remove templates. Nodes that were cloned from them need them no more; `up` makes them again when it needs them.

    \b
    Examples:
      vmlab warm rm
      vmlab warm rm 40b0 -y
    """
    from vmlab.cli.target import agreed, here
    from vmlab.lab.hosts.warm import remove

    if keys:
        again = f"vmlab warm rm {' '.join(keys)} -y"
        agreed("remove these templates?", [f"  {key}" for key in keys], yes=yes, again=again)
    with here() as host:
        for line in remove(host, keys or []):
            typer.echo(f"{line.template.key} of {line.template.image} is gone", err=True)
