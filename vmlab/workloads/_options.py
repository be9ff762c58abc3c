"""Options from the command line, and what there is to set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vmlab.errors import UsageError
from vmlab.metrics import Metric
from vmlab.topology.wording import among, quote
from vmlab.values.nodeset import parts
from vmlab.workloads import Workload

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

    A text option takes the value as it is, a list is written with commas or as in YAML, all else as in YAML. Raises
    UsageError for what has no `=`, is unknown (with the nearest known name), or is no YAML.
    """
    properties = _properties(workload)
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {quote(pair)} has no value", hint=f"--set {name}=VALUE")
        if name not in properties:
            raise UsageError(
                f"{workload.name} has no option {quote(name)} ({among(name, properties)})",
                hint=f"vmlab workloads {workload.name}",
            )
        settings[name] = _value(properties[name], text, pair)
    return settings


def validated(workload: Workload[O], settings: Mapping[str, Any]) -> O:
    """The options, defaults filled in. Raises UsageError with all that is wrong in one line."""
    try:
        return workload.options.model_validate(dict(settings))
    except ValidationError as error:
        wrong = "; ".join(_line(workload, problem["loc"], problem["msg"]) for problem in error.errors())
        raise UsageError(f"{workload.name}: {wrong}", hint=f"vmlab workloads {workload.name}") from None


def describe(workload: Workload[Any]) -> WorkloadHelp:
    """Its options and metrics."""
    options = tuple(
        OptionHelp(name, _form(schema), _default(schema), schema.get("description", ""))
        for name, schema in _properties(workload).items()
    )
    return WorkloadHelp(workload.name, workload.summary, options, workload.metrics)


def _properties(workload: Workload[Any]) -> dict[str, dict[str, Any]]:
    schema: dict[str, dict[str, dict[str, Any]]] = workload.options.model_json_schema()
    return schema.get("properties", {})


def _kinds(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]


def _value(schema: dict[str, Any], text: str, pair: str) -> Any:
    kinds = _kinds(schema)
    types = {kind.get("type") for kind in kinds}
    if "array" in types and not text.startswith("[") and text not in _words(kinds):
        return [_yaml(part, pair) for part in parts(text)]
    if types == {"string"}:
        return text
    return _yaml(text, pair)


def _words(kinds: list[dict[str, Any]]) -> set[str]:
    return {word for kind in kinds for word in kind.get("enum", [kind.get("const")]) if word is not None}


def _yaml(text: str, pair: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--set {quote(pair)}: {quote(text)} is no YAML value") from error


def _line(workload: Workload[Any], location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    message = message.removeprefix("Value error, ")
    if message == "Extra inputs are not permitted":
        message = f"no such option ({among(name, _properties(workload))})"
    return f"{name}: {message}" if name else message


def _form(schema: dict[str, Any]) -> str:
    return " or ".join(_one_form(kind) for kind in _kinds(schema))


def _one_form(kind: dict[str, Any]) -> str:
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
