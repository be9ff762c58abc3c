"""image list, build, import, rm."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.commands import Group
from vmlab.cli.options import Accel, Acceleration, Form, On, Output, Timeout, Yes, option

if TYPE_CHECKING:
    from vmlab.values.size import Bytes

_SUITE = "trixie"
_TIMEOUT = "1h"

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Images that nodes are clones of: list, build, import, rm.",
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The image's name.", autocompletion=complete.images)]


@app.command("list")
def list_(on: On = None, output: Output = Form.TABLE) -> None:
    """List the images, and which nodes are clones of them.

    With --on the files that other hosts have of images: `up` sends those that a bed needs, and `gc --on` removes those
    of no use.

    \b
    Examples:
      vmlab image list
      vmlab image list --on ha-two-hosts.yaml
    """
    from vmlab.cli.target import here, on_hosts, refuse_away
    from vmlab.lab.images.images import files_on, listed
    from vmlab.report.plain import dumped
    from vmlab.report.tables import image_file_table, image_table, show

    if on is not None:
        with on_hosts(on) as hosts:
            files = files_on(hosts)
        if output is Form.JSON:
            typer.echo(dumped(files))
        elif files:
            show(image_file_table(files))
        else:
            typer.echo("no files of images are there: `vmlab up` sends them", err=True)
        refuse_away(hosts, on)
        return
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
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="More package files, as a shell expands *.rpm.")
    ] = None,
    base: Annotated[
        str | None,
        option("--from", help="Build of this image and --packages, by no recipe.", autocompletion=complete.images),
    ] = None,
    packages: Annotated[
        list[Path] | None, option("--packages", metavar="PATH", help=".rpm or .deb files, or a folder of them.")
    ] = None,
    kernel: Annotated[bool, option("--kernel", help="The image boots the kernel that is among the packages.")] = False,
    disk: Annotated[
        str | None, option("--disk", help="Root disk's size, such as 10GiB; absent: as --from.", metavar="SIZE")
    ] = None,
    debug: Annotated[
        Path | None,
        option("--keep-vmlinux", metavar="PACKAGE", help="Keep vmlinux of this debug package of the image's kernel."),
    ] = None,
    no_check: Annotated[bool, option("--no-check", help="Store the image without having booted it.")] = False,
    accel: Acceleration = Accel.AUTO,
    timeout: Timeout = _TIMEOUT,  # type: ignore[assignment]  # parsed by Typer
    mirror: Annotated[str | None, option("--mirror", help="Debian mirror; absent: that of this machine.")] = None,
    suite: Annotated[str | None, option("--suite", help="Debian release, trixie or later; absent: trixie.")] = None,
) -> None:
    """Build an image: `demo`, `tools`, or another and packages.

    `demo` is made of Debian packages; `tools` is the same with what tests and crashes need in a guest: NFS, pdsh,
    sysstat, tcpdump, what a crash kernel needs. With --from a guest of that image installs .rpm or .deb files, such as
    Lustre's, with its own package manager; modules must be for the kernel that the image boots. Then a guest of the new
    image is booted, and loads Lustre if it carries that: only an image that does so takes its name.

    \b
    Examples:
      vmlab image build demo --mirror http://mirror.lab/debian
      vmlab image build lustre --from rocky9 --packages ~/lustre-rpms/
      vmlab image build lustre --from debian12 --kernel --packages *.deb
      vmlab image build tools --keep-vmlinux linux-image-6.12.117+deb13-amd64-dbg_6.12.117-1_amd64.deb
    """
    from vmlab.cli.target import here
    from vmlab.errors import UsageError
    from vmlab.lab.images.derive import Wish, build_from
    from vmlab.lab.images.images import build as by_recipe
    from vmlab.lab.images.session import NODE
    from vmlab.report.progress import shown

    files = (*(packages or ()), *(more or ()))
    if base is None:
        options = {"--packages": files, "--kernel": kernel, "--no-check": no_check, "--disk": disk is not None}
        if given := [option for option, there in options.items() if there]:
            raise UsageError(
                f"{', '.join(given)}: only with --from, which names the image to build of",
                hint=f"vmlab image build {name} --from IMAGE ...",
            )
        with here() as host, shown() as progress:
            manifest = by_recipe(host, name, mirror=mirror, suite=suite or _SUITE, debug=debug, progress=progress.say)
    else:
        if not packages or mirror or suite:
            told = "--mirror and --suite are for recipes" if packages else "--from needs --packages"
            raise UsageError(told, hint=f"vmlab image build {name} --from {base} --packages PATH")
        with here() as host, shown((NODE,)) as progress:
            wish = Wish(name, base, files, kernel=kernel, disk=_size(disk), check=not no_check, debug=debug)
            manifest = build_from(host, wish, accel=accel, timeout_s=timeout, progress=progress)
    lustre = f", Lustre {manifest.lustre} ({', '.join(manifest.backends) or 'client'})" if manifest.lustre else ""
    typer.echo(f"{manifest.name}: {manifest.distribution} with kernel {manifest.kernel}{lustre}", err=True)


def _size(text: str | None) -> "Bytes | None":
    from vmlab.errors import UsageError
    from vmlab.values.size import Bytes

    try:
        return None if text is None else Bytes.parse(text)
    except ValueError as error:
        raise UsageError(f"--disk: {error}") from None


@app.command("import")
def import_(
    name: _Name,
    disk: Annotated[str, typer.Argument(metavar="DISK", help="A qcow2 without a backing chain, fetched already.")],
    user: Annotated[
        str | None, option("--user", help="Who logs in, root if none is said; others need sudo without a password.")
    ] = None,
) -> None:
    """Take a distribution's cloud image into the store.

    A manifest beside it, DISK's name with .json, comes along: it says who logs in, how the image boots and what it
    carries. Without one nobody knows whether it carries Lustre, and `up` asks the guests. To say it:

    \b
      {"name": "rocky9", "user": "rocky", "carries": {"lustre": "2.15.5"}, "backends": ["ldiskfs"],
       "files": {"disk": "Rocky-9.qcow2"}}

    \b
    Example:
      vmlab image import rocky9 Rocky-9.qcow2 --user rocky
    """
    from vmlab.cli.target import here
    from vmlab.errors import UsageError
    from vmlab.lab.images.images import bring

    if "://" in disk:
        file = disk.rpartition("/")[2] or "DISK"
        fetch = f"curl -fLO {shlex.quote(disk)} && vmlab image import {name} {shlex.quote(file)}"
        raise UsageError("a URL: fetch it first, and compare its checksum; vmlab imports files", hint=fetch)
    with here() as host:
        manifest = bring(host, name, Path(disk), user=user)
    typer.echo(f"{manifest.name}: imported", err=True)


@app.command()
def rm(name: _Name, yes: Yes = False) -> None:
    """Remove an image; refused while nodes are clones of it.

    \b
    Example:
      vmlab image rm rocky9
    """
    from vmlab.cli.target import agreed, here
    from vmlab.lab.images.images import removable, remove

    with here() as host:
        files = removable(host, name)
        agreed(f"{name}: remove it?", files, yes=yes, again=f"vmlab image rm {name} -y")
        remove(host, name)
    typer.echo(f"{name}: removed", err=True)
