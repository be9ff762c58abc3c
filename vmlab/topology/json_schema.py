"""The JSON Schema of a topology file, for editors."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vmlab.topology.model import TopologyFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(workloads: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> dict[str, Any]:
    """Draft 2020-12. The options of `workloads` are described, those of others may be anything."""
    kinds = dict(sorted(workloads.items()))
    modes = [(kind, "validation") for kind in (TopologyFile, *kinds.values())]
    references, whole = models_json_schema(modes, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = whole["$defs"]
    root = definitions.pop(references[(TopologyFile, "validation")]["$ref"].rpartition("/")[2])
    for definition in (root, *definitions.values()):
        _tidy(definition)
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


def _tidy(definition: dict[str, Any]) -> None:
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
