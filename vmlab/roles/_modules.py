"""Kernel modules."""

from collections.abc import Iterable

from vmlab.shell import script
from vmlab.steps import Step

# Loading one takes seconds; the first brings in all others.
_LOAD_S = 120.0
_LOADED = '[ -d "/sys/module/$1" ]'
_LOAD = script(__file__, "load_module.sh")


def steps(modules: Iterable[str]) -> tuple[Step, ...]:
    """Each is loaded. LNet must be configured before, because `lustre` starts it."""
    return tuple(
        Step(
            name=f"module {module}",
            check=("sh", "-c", _LOADED, "vmlab", module),
            apply=(("sh", "-c", _LOAD, "vmlab", module),),
            deadline_s=_LOAD_S,
        )
        for module in modules
    )
