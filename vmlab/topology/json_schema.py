"""The JSON Schema of a topology file, for editors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vmlab.topology.model import TopologyFile
from vmlab.topology.sweep import CASES, NATIVE

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(workloads: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> dict[str, Any]:
    """Draft 2020-12. The options of `workloads` are described, those of others may be anything."""
    kinds = dict(sorted(workloads.items()))
    modes = [(kind, "validation") for kind in (TopologyFile, *kinds.values())]
    references, whole = models_json_schema(modes, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = whole["$defs"]
    root = definitions.pop(references[(TopologyFile, "validation")]["$ref"].rpartition("/")[2])
    for definition in (root, *definitions.values()):
        tidy(definition)
    for kind in kinds.values():
        _sweep(definitions[references[(kind, "validation")]["$ref"].rpartition("/")[2]])
    options = {name: {"anyOf": [references[(kind, "validation")], {"type": "null"}]} for name, kind in kinds.items()}
    root["properties"]["workloads"] |= {
        "type": "array",
        "items": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "properties": options,
            "additionalProperties": {"type": ["object", "null"]},
        },
    }
    return {"$schema": _DIALECT, **root, "$defs": dict(sorted(definitions.items()))}


def tidy(definition: dict[str, Any]) -> None:
    """Keys that may be left out are not keys that may be nothing; pydantic writes both in the same way."""
    for part in definition.get("properties", {}).values():
        choices = part.get("anyOf", [])
        if {"type": "null"} in choices:
            rest = [choice for choice in choices if choice != {"type": "null"}]
            del part["anyOf"]
            part.update(rest[0] if len(rest) == 1 else {"anyOf": rest})
        if part.get("default", 0) is None:
            del part["default"]
        part.pop("title", None)


def _sweep(definition: dict[str, Any]) -> None:
    """Each option may be a list of what it takes, and `cases` a list of points: `topology.sweep`."""
    swept = {}
    for name, part in definition.get("properties", {}).items():
        told = {key: part[key] for key in ("description", "default") if key in part}
        one = {key: value for key, value in part.items() if key not in told}
        swept[name] = told | {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]}
    cases: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "object", "minProperties": 1}}
    cases |= {"description": "points of a sweep that is no product"}
    own = definition.get("properties", {}).get(CASES)
    mount = {"mount": {"type": "string", "pattern": "^/", "description": "where its files go on the host"}}
    native = {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": mount, "additionalProperties": False}]}
    definition["properties"] = swept | {
        CASES: cases if own is None else {"anyOf": [own, cases]},
        NATIVE: native | {"default": False, "description": "measure the same on the host itself, beside"},
    }
