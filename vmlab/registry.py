"""Kinds of which each is a file: found in their package's folder, by entry points, and in a folder that users name."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Generic, Protocol, TypeVar


class Named(Protocol):
    """What all kinds have."""

    name: ClassVar[str]


K = TypeVar("K", bound=Named)
C = TypeVar("C", bound=type[Named])


class Registry(Generic[K]):
    """The kinds of one package, which is also the group of their entry points; `what` is one of them in messages.

    `variable` is the environment's by which users name a folder of their own; a file there is a module.
    """

    def __init__(self, package: str, what: str, *, variable: str = "") -> None:
        self._package = package
        self._what = what
        self._variable = variable
        self._kinds: dict[str, K] = {}

    def register(self, kind: C) -> C:
        """Make a kind known by its name: a decorator. Raises ValueError if another class has that name."""
        made: K = kind()  # type: ignore[assignment]  # a class of K, which the decorated class's own type is to survive
        known = type(self._kinds.get(made.name, made))
        if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(f"two {self._what}s are named {made.name}: {known.__module__} and {kind.__module__}")
        self._kinds[made.name] = made
        return kind

    def all(self) -> Mapping[str, K]:
        """By name, sorted."""
        _ = self.warnings
        return MappingProxyType(dict(sorted(self._kinds.items())))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """A line for each entry point and file that could not be loaded. Whoever asks first has all files read."""
        for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        points = entry_points(group=self._package)
        loaded = [_load(f"{self._what} {point.name} ({point.value})", point.load) for point in points]
        if folder := os.environ.get(self._variable):
            loaded += self._own(Path(folder).expanduser())
        return tuple(filter(None, loaded))

    def _own(self, folder: Path) -> list[str]:
        if not folder.is_dir():
            return [f"{self._variable} names no folder: {folder}"]
        files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
        return [
            _load(f"{self._what} in {path}", partial(_import, f"{self._package}.own.{path.stem}", path))
            for path in files
        ]


def _import(name: str, path: Path) -> None:
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look there for what annotations mean
    spec.loader.exec_module(module)


def _load(name: str, load: Callable[[], object]) -> str:
    try:
        load()
    except Exception as error:  # noqa: BLE001 (somebody else's code may fail in any way, and must not stop the others)
        return f"the {name} cannot be used: {type(error).__name__}: {error}".splitlines()[0]
    return ""
