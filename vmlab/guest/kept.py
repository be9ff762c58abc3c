"""What the first boot wrote is on the disk: a server that loses its power a moment later must come up again.

cloud-init writes host keys and network files once for an instance, and does not flush them; ext4 keeps such data in
memory for half a minute. A guest that was powered off in between came up with empty files, without a network, for good.
"""

from vmlab.steps import Step

_KEPT = "/var/lib/cloud/instance/vmlab-kept"


def kept_step() -> Step:
    """All that was written so far is flushed, once for each instance."""
    return Step("kept", ("test", "-e", _KEPT), (("sync",), ("touch", _KEPT), ("sync", _KEPT)), deadline_s=300.0)
