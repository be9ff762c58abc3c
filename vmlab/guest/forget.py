"""Make a guest's disk an image: what only this guest was goes, so that each clone becomes itself at its first boot."""

from vmlab.shell import script
from vmlab.steps import Command

FORGOTTEN = "vmlab: forgotten"

_FORGET = script(__file__, "forget.sh")


def forget_and_switch_off(public_key: str, user: str) -> Command:
    """To be run as root. Prints FORGOTTEN when all is done, and only then begins to switch the guest off.

    `public_key` is the line of `authorized_keys` that vmlab gave to the guest and to `user`.
    """
    key = public_key.split()[1]
    return ("sh", "-c", _FORGET, "vmlab", key, user, FORGOTTEN)
