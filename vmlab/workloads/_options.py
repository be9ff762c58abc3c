"""Options from the command line, and what there is to set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vmlab.errors import UsageError
from vmlab.metrics import Metric, label_text
from vmlab.topology.sweep import CASES, NATIVE, expand, kinds, native_mount, properties
from vmlab.topology.wording import among, quote
from vmlab.values.nodeset import parts
from vmlab.workloads import Native, Workload

O = TypeVar("O", bound=BaseModel)  # noqa: E741 (as in the package)


@dataclass(frozen=True, slots=True)
class OptionHelp:
    """One option: `form` is what its value looks like, `default` is written as in YAML ("" if there is none)."""

    name: str
    form: str
    default: str
    help: str


@dataclass(frozen=True, slots=True)
class WorkloadHelp:
    """What `vmlab workloads` says of one."""

    name: str
    summary: str
    options: tuple[OptionHelp, ...]
    metrics: tuple[Metric, ...]


def parse_set(workload: Workload[Any], pairs: Iterable[str]) -> dict[str, Any]:
    """`["verbs=write,read", "iterations=200"]` as a mapping for `validated`.

    A text option takes the value as it is, a list is written with commas or as in YAML, all else as in YAML, a sweep
    too: what begins with `[`, and `cases`. Raises UsageError for what has no `=`, is unknown (with the nearest known
    name), or is no YAML.
    """
    known = properties(workload.options)
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {quote(pair)} has no value", hint=f"--set {name}=VALUE")
        if name in (CASES, NATIVE):
            settings[name] = _yaml(text, pair)
            continue
        if name not in known:
            raise UsageError(
                f"{workload.name} has no option {quote(name)} ({among(name, known)})",
                hint=f"vmlab workloads {workload.name}",
            )
        settings[name] = _value(known[name], text, pair)
    return settings


def validated(workload: Workload[O], settings: Mapping[str, Any]) -> O:
    """The options, defaults filled in. Raises UsageError with all that is wrong in one line."""
    try:
        return workload.options.model_validate(dict(settings))
    except ValidationError as error:
        wrong = "; ".join(_line(workload, problem["loc"], problem["msg"]) for problem in error.errors())
        raise UsageError(f"{workload.name}: {wrong}", hint=f"vmlab workloads {workload.name}") from None


@dataclass(frozen=True, slots=True)
class Point(Generic[O]):
    """One point of a sweep: its options, and those that make it as labels of its figures; {} if nothing is swept.

    `native`: it is measured on the host itself, too. `shape`: what makes the bed, in a sweep of its shape, which is
    called `series`. All points of a run have the same.
    """

    labels: Mapping[str, str]
    options: O
    native: Native | None = None
    shape: Mapping[str, str] = field(default_factory=dict)
    series: str = ""


def points(workload: Workload[O], settings: Mapping[str, Any]) -> tuple[Point[O], ...]:
    """What is to be measured, one point if nothing is swept (`topology.sweep`). Raises UsageError."""
    try:
        expanded = expand(workload.options, settings)
        mount = native_mount(settings)
    except ValueError as error:
        raise UsageError(f"{workload.name}: {error}", hint=f"vmlab workloads {workload.name}") from None
    native = None if mount is None else Native(mount, written=True)
    found = []
    for point in expanded:
        options = validated(workload, point.settings)
        values = options.model_dump(by_alias=True)
        found.append(Point({name: label_text(values[name]) for name in point.swept}, options, native))
    return tuple(found)


def also_native(points: tuple[Point[O], ...], *, asked: bool) -> tuple[Point[O], ...]:
    """The same points, measured on the host itself, too, if that is asked for."""
    return tuple(replace(p, native=p.native or Native()) for p in points) if asked else points


def describe(workload: Workload[Any]) -> WorkloadHelp:
    """Its options and metrics."""
    options = tuple(
        OptionHelp(name, _form(schema), _default(schema), schema.get("description", ""))
        for name, schema in properties(workload.options).items()
    )
    if type(workload).on_host is not Workload.on_host:
        options += (OptionHelp(NATIVE, "true|false or {mount: DIR}", "false", "the same on the host itself, beside"),)
    return WorkloadHelp(workload.name, workload.summary, options, workload.metrics)


def _value(schema: dict[str, Any], text: str, pair: str) -> Any:
    forms = kinds(schema)
    types = {kind.get("type") for kind in forms}
    if text.startswith("["):
        try:
            return _yaml(text, pair)
        except UsageError:
            if "string" not in types:  # `[ -e done ] && ...` is a command of the shell
                raise
    if "array" in types and text not in _words(forms):
        return [_yaml(part, pair) for part in parts(text)]
    if "string" in types:
        return text
    return _yaml(text, pair)


def _words(forms: Sequence[Mapping[str, Any]]) -> set[str]:
    return {word for kind in forms for word in kind.get("enum", [kind.get("const")]) if word is not None}


def _yaml(text: str, pair: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--set {quote(pair)}: {quote(text)} is no YAML value") from error


def _line(workload: Workload[Any], location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    message = message.removeprefix("Value error, ")
    if message == "Extra inputs are not permitted":
        message = f"no such option ({among(name, properties(workload.options))})"
    return f"{name}: {message}" if name else message


def _form(schema: Mapping[str, Any]) -> str:
    return " or ".join(_one_form(kind) for kind in kinds(schema))


def _one_form(kind: Mapping[str, Any]) -> str:
    if "form" in kind:
        return str(kind["form"])
    if "const" in kind:
        return str(kind["const"])
    if "enum" in kind:
        return "|".join(map(str, kind["enum"]))
    if kind.get("type") == "array":
        return f"list of {_form(kind.get('items', {}))}"
    if kind.get("examples"):
        return f"size ({kind['examples'][0]})"
    names = {"boolean": "true|false", "string": "text", "integer": "whole number"}
    return names.get(kind.get("type", ""), str(kind.get("type", "any")))


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return "[" + ", ".join(map(str, default)) + "]"
    return str(default)
