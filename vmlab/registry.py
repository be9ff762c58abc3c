"""Kinds of which each is a file: found in their package's folder, and by entry points that others bring."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import ClassVar, Generic, Protocol, TypeVar


class Named(Protocol):
    """What all kinds have."""

    name: ClassVar[str]


K = TypeVar("K", bound=Named)
C = TypeVar("C", bound=type[Named])


class Registry(Generic[K]):
    """The kinds of one package, which is also the group of their entry points; `what` is one of them in messages."""

    def __init__(self, package: str, what: str) -> None:
        self._package = package
        self._what = what
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
        """A line for each entry point that could not be loaded. Whoever asks first has all files read."""
        for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        points = entry_points(group=self._package)
        loaded = (_load(f"{self._what} {point.name} ({point.value})", point.load) for point in points)
        return tuple(filter(None, loaded))


def _load(name: str, load: Callable[[], object]) -> str:
    try:
        load()
    except Exception as error:  # noqa: BLE001 (somebody else's code may fail in any way, and must not stop the others)
        return f"the {name} cannot be used: {type(error).__name__}: {error}".splitlines()[0]
    return ""
