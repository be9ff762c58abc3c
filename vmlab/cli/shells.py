"""completion: what makes the shell complete vmlab's commands, and the answer when it asks.

Typer's protocol: with the variable below, the program prints its script (`source_bash`) or what could come next
(`complete_bash`), and does nothing else.
"""

import os
from enum import StrEnum
from typing import Annotated, Any

import typer

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
    root.main(args=[], prog_name="vmlab")
