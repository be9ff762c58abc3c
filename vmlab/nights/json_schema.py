"""The JSON Schema of the file of a night, for editors."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vmlab.nights.model import EntryHead, FaultEntry, NightFile, StepHead
from vmlab.topology.json_schema import schema as topology_schema
from vmlab.topology.json_schema import tidy

_PARTS = (NightFile, EntryHead, StepHead, FaultEntry)


def schema(workloads: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """Draft 2020-12, with the options of `workloads` as in topology files."""
    known = topology_schema(workloads)
    options = known["properties"]["workloads"]["items"]["properties"]
    modes = [(kind, "validation") for kind in _PARTS]
    references, whole = models_json_schema(modes, ref_template="#/$defs/{model}")  # type: ignore[arg-type]
    own: dict[str, Any] = whole["$defs"]
    for definition in own.values():
        tidy(definition)
    root, entry, step, fault = (own.pop(references[kind, "validation"]["$ref"].rpartition("/")[2]) for kind in _PARTS)
    root["properties"]["entries"] |= {"items": {"$ref": "#/$defs/Entry"}}
    beside = step["properties"]
    workload = {
        "type": "object",
        "properties": beside | options,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in options],
    }
    purpose = {
        "type": "object",
        "properties": {"fault": fault},
        "required": ["fault"],
        "additionalProperties": False,
    }
    steps = {"type": "array", "minItems": 1, "items": {"anyOf": [workload, purpose]}}
    entry["properties"]["steps"] = steps | {"description": "what is done on the bed, in order"}
    entry["required"] = [*entry.get("required", ()), "steps"]
    used = dict(_reachable(options, known["$defs"]))
    return {"$schema": known["$schema"], **root, "$defs": dict(sorted((own | used | {"Entry": entry}).items()))}


def _reachable(part: object, definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    todo = [part]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in definitions and name not in seen:
                seen.add(name)
                yield name, definitions[name]
                todo.append(definitions[name])
            todo += one.values()
        elif isinstance(one, list):
            todo += one
