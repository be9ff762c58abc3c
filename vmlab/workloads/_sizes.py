"""Sizes in the options of workloads: of what is read, written or sent at once."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from vmlab.values.size import Bytes, any_size


def _read(value: object) -> Bytes:
    """`1MiB`; `1m`, which is the same; and `10KB`: some benchmarks are agreed on in decimal units."""
    return value if isinstance(value, Bytes) else any_size(value)


READ = BeforeValidator(_read)
"""How a size is read."""


def within(what: str, most: int | None = None) -> AfterValidator:
    """At least a byte, and `most`; `what` it is, in words for people, as in "message size"."""

    def check(size: Bytes) -> Bytes:
        if size < 1 or (most is not None and size > most):
            bounds = "at least 1B" if most is None else f"1B to {Bytes(most)}"
            raise ValueError(f"{size} is no {what} (expected {bounds})")
        return size

    return AfterValidator(check)


def form(*examples: str) -> WithJsonSchema:
    """What the JSON Schema and the help say of it."""
    pattern = "^[0-9]+(B|[KMGTP]iB|[KMG]B|[kmg])$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "form": "size", "examples": list(examples)})


Size = Annotated[Bytes, within("size to transfer"), READ, form("1MiB", "10KB")]
"""Bytes of one read or write, at least one."""
