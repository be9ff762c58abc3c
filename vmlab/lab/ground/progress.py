"""How an operation tells what it is doing; the faces decide how that looks."""

from typing import Protocol


class Progress(Protocol):
    """Called from several threads."""

    def stage(self, node: str, stage: str) -> None:
        """A node has come to a stage: a word such as `define`, `boot`, `ssh`, `ready`."""

    def say(self, line: str) -> None:
        """Something that happened, worth a line."""

    def warn(self, line: str) -> None:
        """Something that the user should know and need not act on."""


class Silent:
    """Nobody listens."""

    def stage(self, node: str, stage: str) -> None:
        """Not told."""

    def say(self, line: str) -> None:
        """Not told."""

    def warn(self, line: str) -> None:
        """Not told."""
