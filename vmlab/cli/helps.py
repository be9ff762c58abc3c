"""help: the help of a command, and what no single command's help is about."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = "environment"
_VARIABLES = {
    "LIBVIRT_DEFAULT_URI": "The libvirt that beds are on, where their files name no host; absent: qemu:///system.",
    "VMLAB_STATE_DIR": "Beds' ssh secrets, runs, the log; absent: /var/lib/vmlab for root, else ~/.local/share/vmlab.",
    "XDG_DATA_HOME": "In place of ~/.local/share there.",
    "XDG_CACHE_HOME": "Where libvirt has QEMU's logs of a user's own guests, in libvirt/qemu/log; absent: ~/.cache.",
    "VMLAB_WORKLOADS": "A folder of workloads of your own, each a *.py (docs/workloads.md); absent: none.",
    "VMLAB_POOL_DIR": "Where the storage pools go when they are made: beds/, images/; absent: /var/lib/libvirt/vmlab.",
    "VMLAB_LOCK_DIR": "The locks that users of a host share, in vmlab/; absent: /run/lock.",
    "PATH": "Where tools are looked for; image builds look in /usr/sbin and /sbin, too.",
    "SUDO_USER": "Who became root by sudo, as sudo sets it: named where root's ssh does not know a machine.",
    "NO_COLOR": "Set: no colours.",
    "TERM": "dumb: neither colours nor live lines.",
    "COLUMNS": "How wide tables are on a terminal; absent: as it is.",
    "TMPDIR": "What `cp` copies from node to node lies there in between; absent: /tmp.",
}


def help_(
    ctx: typer.Context,
    topic: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help="`environment`, or a command; absent: all commands.")
    ] = None,
) -> None:
    """Show a command's help, or all environment variables.

    \b
    Examples:
      vmlab help environment
      vmlab help fs mount
    """
    root = ctx.find_root()
    if topic == [_ENVIRONMENT]:
        typer.echo("\n".join(_environment(root.command)))
        return
    context: Any = root
    command: Any = root.command
    for word in topic or ():
        found = command.get_command(context, word) if hasattr(command, "commands") else None
        if found is None:
            raise typer.BadParameter(f"{' '.join(topic or ())!r:.60} is neither `environment` nor a command")
        context, command = type(ctx)(found, info_name=word, parent=context), found
    typer.echo(command.get_help(context))


def _environment(root: Any) -> "Iterator[str]":
    yield "Variables that are no option's:"
    yield from (f"  {name}\n      {meaning}" for name, meaning in _VARIABLES.items())
    yield ""
    yield "Options, as they would be typed; what is typed counts more:"
    commands: dict[str, list[str]] = {}
    for path, command in _leaves(root, ""):
        for parameter in command.params:
            if variable := getattr(parameter, "envvar", None):
                commands.setdefault(str(variable), []).append(path)
    width = max(map(len, commands), default=0)
    yield from (f"  {variable:{width}}  {', '.join(commands[variable])}" for variable in sorted(commands))


def _leaves(command: Any, path: str) -> "Iterator[tuple[str, Any]]":
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
        return
    for name in members:
        yield from _leaves(members[name], f"{path} {name}".strip())
