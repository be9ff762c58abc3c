"""Copies that set their clocks by themselves: whose word is waited for, and who is left to ssh."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.lab.beds import standing
from vmlab.lab.ground.progress import Silent

CONSOLES = {"n1": "vmlab: clock: set\r\n", "n2": "vmlab: clock: it jumps\r\n", "n3": "words\r\n"}
NOBODY: Any = None
BED: Any = SimpleNamespace(
    name="bed", nodes=dict.fromkeys(CONSOLES, SimpleNamespace(facts=SimpleNamespace(kind="qemu")))
)


def test_who_says_nothing_or_something_else_is_left_to_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    def console_of(_hosts: object, _bed: object, node: str) -> Callable[[], str]:
        return lambda: CONSOLES[node]

    monkeypatch.setattr(standing, "console_of", console_of)
    monkeypatch.setattr(standing, "_SPEAK_S", {"qemu": 0.3})
    assert standing.clocks_set(NOBODY, BED, CONSOLES, Silent()) == {"n1"}
    assert standing.clocks_set(NOBODY, BED, (), Silent()) == frozenset()
