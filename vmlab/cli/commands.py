"""Commands that are imported when they are asked for, and the values of their parameters."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup


class Group(TyperGroup):
    """Commands below a word; the help of each names the log.

    Its `--help`, which Typer looks at on the way to each command, costs nothing.
    """

    def get_help_option(self, ctx: Any) -> Any:
        """See Typer."""
        return _light(super().get_help_option(ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """See Typer."""
        _epilog(super().format_epilog, ctx, formatter)


class Commands(Mapping[str, Any]):
    """Commands by name, given as MODULE.FUNCTION or MODULE.APP of this package; each is made when it is first used."""

    def __init__(self, places: Iterable[Mapping[str, str]]) -> None:
        self._places = {name: place for some in places for name, place in some.items()}
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _made(name, self._places[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _made(name: str, place: str) -> Any:
    module, _, attribute = place.partition(".")
    app = getattr(import_module(f"vmlab.cli.{module}"), attribute)
    if isinstance(app, typer.Typer):
        command: Any = typer.main.get_group(app)
    else:
        function, app = app, typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        # What follows the node is the remote command's, options included.
        app.command(name, context_settings={"allow_interspersed_args": False} if name == "ssh" else None)(function)
        command = typer.main.get_command(app)
    command.name = name
    for leaf in command.commands.values() if isinstance(command, Group) else (command,):
        _prepare(leaf)
    return command


def _prepare(command: Any) -> None:
    """What Group is to commands below a word, to a command itself."""
    for parameter in command.params:
        _light(parameter)
    help_option, own = command.get_help_option, command.format_epilog
    command.get_help_option = lambda ctx: _light(help_option(ctx))
    command.format_epilog = partial(_epilog, own)


def _epilog(own: Any, ctx: Any, formatter: Any) -> None:
    from vmlab.runtime.log import log_path

    own(ctx, formatter)
    formatter.write_paragraph()
    formatter.write_text(f"The log: {log_path()}")


def _light(parameter: Any) -> Any:
    """The same parameter, whose values are only given to pydantic where need be."""
    if parameter is not None and "get_runtime_param" not in vars(parameter):
        parameter.get_runtime_param = _Light(parameter.get_runtime_param)
    return parameter


class _Light:
    """Makes a parameter's values of words. Typer asks pydantic for that, whose import takes longer than all else."""

    def __init__(self, typers: Any) -> None:
        self._typers = typers

    def __call__(self) -> "_Light":
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """See Typer."""
        wanted, several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        parser = param.type_descriptor.parameter_info.parser
        match value:
            case None:
                return () if several else None
            case _ if parser is not None and not several:
                return parser(value)
            case _ if value is param.default or (wanted is str and isinstance(value, str)):
                return value
            case tuple() if wanted == list[str]:
                return list(value)
            case str() if isinstance(wanted, type) and issubclass(wanted, StrEnum) and value in set(wanted):
                return wanted(value)
        return self._typers().coerce(value, param=param, ctx=ctx)
