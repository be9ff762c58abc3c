"""The mount command of a target or a client, which says what it lacks when it fails."""

from vmlab.shell import script

MOUNT = script(__file__, "mount.sh")
