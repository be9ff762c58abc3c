"""What the first boot wrote is on the disk: a server that loses its power a moment later must come up again.

cloud-init writes host keys and network files once for an instance, and does not flush them; ext4 keeps such data in
memory for half a minute. A guest that was powered off in between came up with empty files, without a network, for good.
vmlab's own unit writes its files again until this step has said that they are there.
"""

from vmlab.domainxml.metadata import LEAN
from vmlab.steps import Step

_KEPT = "/var/lib/cloud/instance/vmlab-kept"
_IS_KEPT = """
read -r told </run/vmlab/first-boot && read -r kept </etc/vmlab/kept && [ "$told" = "$kept" ]
"""
_KEEP = """
read -r told </run/vmlab/first-boot && sync && echo "$told" >/etc/vmlab/kept && sync /etc/vmlab/kept
"""


def kept_step(first_boot: str) -> Step:
    """All that was written so far is flushed, once for each instance; `first_boot` is the way that it came."""
    if first_boot == LEAN:
        keep = (("sh", "-c", _KEEP, "vmlab"),)
        return Step("kept", ("sh", "-c", _IS_KEPT, "vmlab"), keep, deadline_s=300.0, at_once=True)
    return Step("kept", ("test", "-e", _KEPT), (("sync",), ("touch", _KEPT), ("sync", _KEPT)), deadline_s=300.0)
