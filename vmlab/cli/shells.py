"""completion: what makes the shell complete vmlab's commands, and the answer when it asks.

Typer's protocol: with the variable below, the program prints its script (`source_bash`) or what could come next
(`complete_bash`), and does nothing else.
"""

import os
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_VARIABLE = "_VMLAB_COMPLETE"


class Shell(StrEnum):
    """The shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Your shell.")],
) -> None:
    """Print the script for completion in a shell.

    \b
    Examples:
      eval "$(vmlab completion bash)"
      vmlab completion fish > ~/.config/fish/completions/vmlab.fish
    """
    os.environ[_VARIABLE] = f"source_{shell}"
    answer(ctx.find_root().command)


def asked() -> bool:
    """A shell asks."""
    return _VARIABLE in os.environ


def answer(root: Any) -> None:
    """Answer the shell and end the process. `root` is the whole command."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    _take_words_as_they_are(root)
    root.main(args=[], prog_name="vmlab")


class _AsTyped:
    """Stands in for what makes values of words: that would take longer than all else."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


def as_typed(parameter: Any) -> Any:
    """The same parameter, which passes words on as they are."""
    if parameter is not None:
        parameter.get_runtime_param = _AsTyped
    return parameter


class Group(TyperGroup):
    """Commands below a word; the help of each names the log.

    Its `--help`, which Typer looks at on the way to each command, costs nothing.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """See click."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and not isinstance(command, Group) and not hasattr(command, "names_log"):
            own = command.format_epilog
            command.format_epilog = partial(_epilog, own)  # type: ignore[method-assign]
            command.names_log = True  # type: ignore[attr-defined]
        return command

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """See click."""
        _epilog(super().format_epilog, ctx, formatter)

    def get_help_option(self, ctx: Any) -> Any:
        """See Typer."""
        return as_typed(super().get_help_option(ctx))


def _epilog(own: Any, ctx: Any, formatter: Any) -> None:
    from vmlab.runtime.log import log_path

    own(ctx, formatter)
    formatter.write_paragraph()
    formatter.write_text(f"The log: {log_path()}")


def _take_words_as_they_are(command: Any) -> None:
    for parameter in command.params:
        as_typed(parameter)
    get_help_option = command.get_help_option
    command.get_help_option = lambda ctx: as_typed(get_help_option(ctx))
    for member in getattr(command, "commands", {}).values():
        _take_words_as_they_are(member)
