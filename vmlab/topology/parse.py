"""One mapping of the file against its schema class: its problems with positions, and what of its value is sound."""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vmlab.errors import Problem, TopologyError
from vmlab.topology.model import Part
from vmlab.topology.tree import NO_VALUE, Entry, Mapping, Mark, Scalar, Sequence, Tree, Unreadable, plain
from vmlab.topology.tree import parse as parse_tree
from vmlab.topology.wording import among, nearest, quote

_NAMED = 3
_EXPECTED = {
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "string_type": "expected text",
    "too_short": "expected at least one",
    "model_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
}


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with `file`."""

    file: str
    found: dict[Problem, None] = field(default_factory=dict)

    def add(self, mark: Mark, message: str) -> None:
        """The same message at the same position counts once: an alias repeats what it stands for."""
        self.found[Problem(mark.source or self.file, mark.line, mark.column, message)] = None

    def sorted(self) -> list[Problem]:
        """In the file's order."""
        return sorted(self.found, key=lambda problem: (problem.line, problem.column))


def mapping_of(tree: Tree, wanted: str, problems: Problems) -> Mapping | None:
    """A file's tree, if it is a mapping; else None, and it is told what was `wanted`."""
    if isinstance(tree, Mapping):
        return tree
    shape = "empty" if isinstance(tree, Scalar) and tree.value is NO_VALUE else "no mapping"
    problems.add(tree.mark, f"the file is {shape} (expected a mapping with {wanted})")
    return None


def read_mapping(text: str, wanted: str, problems: Problems) -> Mapping:
    """A file's mapping. Raises TopologyError if it cannot be read so far."""
    try:
        tree = mapping_of(parse_tree(text, problems.add), wanted, problems)
    except Unreadable as error:
        problems.add(error.mark, error.message)
        tree = None
    if tree is None:
        raise TopologyError(problems.sorted())
    return tree


PartT = TypeVar("PartT", bound=Part)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[PartT]):
    """A schema value that remembers where it was written.

    `broken` are the keys that were refused: they hold stand-ins, and nothing may be concluded from them.
    """

    value: PartT
    tree: Tree
    mark: Mark
    broken: frozenset[str]

    def at(self, *path: str | int) -> Mark:
        """Where the value at `path` stands; as near as there is something."""
        return locate(self.tree, path, self.mark)

    def has(self, key: str) -> bool:
        """The key is written in the file."""
        return isinstance(self.tree, Mapping) and key in self.tree.entries

    def sound(self, *keys: str) -> bool:
        """None of these keys was refused."""
        return self.broken.isdisjoint(keys)


def parse(
    kind: type[PartT], entry: Entry, what: str, problems: Problems, *, also: SequenceOf[str] = ()
) -> Parsed[PartT]:
    """Validate one mapping. `what` names it in messages; keys in `also` are somebody else's business."""
    tree = entry.value
    if isinstance(tree, Scalar) and tree.value is NO_VALUE:
        tree = Mapping(entry.mark)
    if not isinstance(tree, Mapping):
        problems.add(tree.mark, f"{what} is {_shape(tree)} (expected a mapping with keys such as {_keys(kind)})")
        return Parsed(kind.model_validate(dict(kind.stand_ins)), tree, entry.mark, frozenset(kind.model_fields))
    data = {key: plain(value.value) for key, value in tree.entries.items() if key not in also}
    try:
        return Parsed(kind.model_validate(data), tree, entry.mark, frozenset())
    except ValidationError as error:
        details = error.errors(include_url=False)
    broken: set[str] = set()
    known = [*kind.model_fields, *also]
    for detail in details:
        key = str(detail["loc"][0])
        broken.add(key)
        if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
            broken.add(nearest(key, known) or key)
    misspelt = {
        (*detail["loc"][:-1], nearest(str(detail["loc"][-1]), _fields_at(kind, _names(detail)[:-1], known)))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    for detail in details:
        # A key that is missing because it was misspelt is reported where it was misspelt.
        if detail["type"] != "missing" or detail["loc"] not in misspelt:
            problems.add(*describe(detail, Entry(entry.mark, tree), what, kind, known))
    healthy = {key: value for key, value in data.items() if key not in broken}
    stand_ins = {key: value for key, value in kind.stand_ins.items() if key not in healthy}
    return Parsed(kind.model_validate(healthy | stand_ins), tree, entry.mark, frozenset(broken))


def locate(tree: Tree, path: SequenceOf[str | int], mark: Mark) -> Mark:
    """The position of the value at `path` below `tree`, or of the last thing on the way; `mark` if there is none."""
    for step in path:
        entry = _step(tree, step)
        if entry is None:
            break
        mark, tree = entry
        if not (isinstance(tree, Scalar) and tree.value is NO_VALUE):
            mark = tree.mark
    return mark


def describe(
    detail: ErrorDetails, entry: Entry, what: str, kind: type[BaseModel], known: SequenceOf[str]
) -> tuple[Mark, str]:
    """One of pydantic's errors about `kind` as position and message. `known` are the keys that `what` may have."""
    path = [step for step in detail["loc"] if step != "[key]"]
    names = _names(detail)
    key = names[-1] if names else what
    owner = f"`{names[-2]}`" if len(names) > 1 else what
    mark, tree = entry
    where = locate(tree, path, mark)
    match detail["type"]:
        case "extra_forbidden":
            keys = _fields_at(kind, names[:-1], known)
            return _key_mark(tree, path, mark), f"unknown key {quote(key)} in {owner} ({among(key, keys)})"
        case "missing":
            parent = locate(tree, path[:-1], mark) if len(path) > 1 else mark
            return parent, f"{owner} has no `{key}` (expected the key `{key}`)"
    if detail["input"] is NO_VALUE:
        return where, f"`{key}` has no value (expected one, or no such key)"
    if detail["type"] == "value_error":
        return where, f"{f'`{key}`' if names else what}: {detail['ctx']['error']}"
    return where, f"`{key}` is {quote(detail['input'])} ({_wanted(detail)})"


def _wanted(detail: ErrorDetails) -> str:
    context: MappingOf[str, Any] = detail.get("ctx", {})
    given = detail["input"]
    match detail["type"]:
        case "literal_error":
            words = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
            close = nearest(given, words) if isinstance(given, str) else None
            return f"expected {'one of ' * (len(words) > 1)}{', '.join(words)}" + (
                f"; did you mean `{close}`?" if close else ""
            )
        case "string_type" if isinstance(given, (int, float)):
            return "expected text; quote it"
        case "too_long":
            return f"expected at most {context['max_length']}"
        case "greater_than_equal":
            return f"expected at least {context['ge']}"
        case "less_than_equal":
            return f"expected at most {context['le']}"
    return _EXPECTED.get(detail["type"]) or f"expected {detail['msg'].removeprefix('Input should be ')}"


def _names(detail: ErrorDetails) -> list[str]:
    return [str(step) for step in detail["loc"] if not isinstance(step, int) and step != "[key]"]


def _fields_at(kind: type[BaseModel], names: SequenceOf[str], known: SequenceOf[str]) -> list[str]:
    """The keys of the class that sits at `names`; names of a user's own (a fabric's, say) lead nowhere."""
    if not names:
        return list(known)
    current = kind
    for name in names:
        info = current.model_fields.get(name)
        current = (_class_in(info.annotation) if info else None) or current
    return list(current.model_fields)


def _class_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _class_in(inner)
        if found is not None:
            return found
    return None


def _step(tree: Tree, step: str | int) -> Entry | None:
    if isinstance(tree, Mapping):
        return tree.entries.get(str(step))
    if isinstance(tree, Sequence):
        if isinstance(step, int) and 0 <= step < len(tree.items):
            return Entry(tree.items[step].mark, tree.items[step])
        for item in tree.items:
            if isinstance(item, Scalar) and item.text == step:
                return Entry(item.mark, item)
    return None


def _key_mark(tree: Tree, path: SequenceOf[str | int], mark: Mark) -> Mark:
    for step in path[:-1]:
        entry = _step(tree, step)
        if entry is None:
            return mark
        mark, tree = entry
    entry = _step(tree, path[-1])
    return entry.mark if entry else mark


def _shape(tree: Tree) -> str:
    return "a list" if isinstance(tree, Sequence) else quote(plain(tree))


def _keys(kind: type[BaseModel]) -> str:
    return ", ".join(list(kind.model_fields)[:_NAMED])
