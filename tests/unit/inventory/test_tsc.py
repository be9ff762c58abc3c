"""The speed of another host's time stamp counter, from `virsh capabilities` (libvirt 9.0, shortened)."""

import pytest

from vmlab.inventory.qemu import read_tsc

CAPABILITIES = """
<capabilities>
  <host>
    <uuid>5d4ff583-8ae4-4666-a4e4-45e6520e8456</uuid>
    <cpu>
      <arch>x86_64</arch>
      <model>kvm64</model>
      {counter}
      <topology sockets='1' dies='1' cores='2' threads='1'/>
    </cpu>
  </host>
</capabilities>
"""


@pytest.mark.parametrize(
    ("counter", "hz"),
    [
        ("<counter name='tsc' frequency='2445428000' scaling='no'/>", 2445428000),
        ("<counter name='tsc' frequency=''/>", None),
        ("<counter name='tsc' scaling='no'/>", None),
        ("<counter name='other' frequency='1000'/>", None),
        ("", None),
    ],
)
def test_what_is_told_of_it(counter: str, hz: int | None) -> None:
    assert read_tsc(CAPABILITIES.format(counter=counter)) == hz
