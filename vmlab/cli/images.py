"""image list, build, import, rm."""

from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import Form, Output, Yes, option
from vmlab.cli.shells import Group

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Images that nodes are clones of: list, build, import, rm.",
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The image's name.", autocompletion=complete.images)]


@app.command("list")
def list_(output: Output = Form.TABLE) -> None:
    """List the images, and which nodes are clones of them.

    \b
    Example:
      vmlab image list
    """
    from vmlab.cli.target import here
    from vmlab.lab.image import listed
    from vmlab.report.plain import dumped
    from vmlab.report.tables import image_table, show

    with here() as host:
        found = listed(host)
    if output is Form.JSON:
        typer.echo(dumped([image.model_dump(mode="json", by_alias=True) | {"clones": nodes} for image, nodes in found]))
    elif found:
        show(image_table(found))
    else:
        typer.echo("no images: vmlab image build demo", err=True)


@app.command()
def build(
    name: _Name = "demo",
    mirror: Annotated[str | None, option("--mirror", help="Debian mirror; absent: that of this machine.")] = None,
    suite: Annotated[str, option("--suite", help="Debian release.")] = "trixie",
) -> None:
    """Build the `demo` image from Debian packages.

    \b
    Example:
      vmlab image build demo --suite bookworm
    """
    from vmlab.cli.target import here
    from vmlab.lab.image import build as make
    from vmlab.report.progress import shown

    with here() as host, shown() as progress:
        manifest = make(host, name, mirror=mirror, suite=suite, progress=progress.say)
    typer.echo(f"{manifest.name}: {manifest.distribution} with kernel {manifest.kernel}", err=True)


@app.command("import")
def import_(
    name: _Name,
    disk: Annotated[Path, typer.Argument(metavar="DISK", help="A qcow2 without a backing chain.")],
    user: Annotated[
        str | None, option("--user", help="Who logs in, root if none is said; others need sudo without a password.")
    ] = None,
) -> None:
    """Take a distribution's cloud image into the store.

    A manifest beside it, DISK's name with .json, comes along.

    \b
    Example:
      vmlab image import rocky9 Rocky-9-GenericCloud.qcow2 --user rocky
    """
    from vmlab.cli.target import here
    from vmlab.lab.image import bring

    with here() as host:
        manifest = bring(host, name, disk, user=user)
    typer.echo(f"{manifest.name}: imported", err=True)


@app.command()
def rm(name: _Name, yes: Yes = False) -> None:
    """Remove an image; refused while nodes are clones of it.

    \b
    Example:
      vmlab image rm rocky9
    """
    from vmlab.cli.target import agreed, here
    from vmlab.lab.image import removable, remove

    with here() as host:
        files = removable(host, name)
        agreed(f"{name}: remove it?", files, yes=yes, again=f"vmlab image rm {name} -y")
        remove(host, name)
    typer.echo(f"{name}: removed", err=True)
