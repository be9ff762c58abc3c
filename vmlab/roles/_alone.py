"""One at a time: what a killed vmlab began in a guest goes on there, and the next one waits for it."""

from vmlab.steps import Command


def alone(what: str) -> Command:
    """Before a command. In /run, which every guest has; small images have no /run/lock."""
    return ("flock", f"/run/vmlab-{what}.lock")
