"""What the first boot wrote is on the disk: a server that loses its power a moment later must come up again.

cloud-init writes host keys and network files once for an instance, and does not flush them; ext4 keeps such data in
memory for half a minute. A guest that was powered off in between came up with empty files, without a network, for good.
vmlab's own unit writes its files again until this step has said that they are there.
"""

from vmlab.domainxml.metadata import LEAN
from vmlab.steps import Step

_KEPT = "/var/lib/cloud/instance/vmlab-kept"
_TOLD, _LEAN_KEPT = "/run/vmlab/first-boot", "/etc/vmlab/kept"


def kept_step(first_boot: str) -> Step:
    """All that was written so far is flushed, once for each instance; `first_boot` is the way that it came."""
    if first_boot == LEAN:
        kept = (("sync",), ("cp", _TOLD, _LEAN_KEPT), ("sync", _LEAN_KEPT))
        return Step("kept", ("cmp", "-s", _TOLD, _LEAN_KEPT), kept, deadline_s=300.0)
    return Step("kept", ("test", "-e", _KEPT), (("sync",), ("touch", _KEPT), ("sync", _KEPT)), deadline_s=300.0)
