"""Faults: command lines, what tc and libvirt tell of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.domainxml.faults import read_faults, target_of, with_link
from vmlab.errors import UsageError
from vmlab.fabrics.netem import Netem, read_netem
from vmlab.values.rate import Rate

# iproute2 6.15, `tc -json qdisc show` after `tc qdisc replace dev ib0 root netem delay 20ms 5ms loss 0.1% rate 1Gbit`.
QDISCS = """[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{}},
{"kind":"fq_codel","handle":"0:","dev":"mgmt","root":true,"refcnt":2,"options":{"limit":10240}},
{"kind":"netem","handle":"8001:","dev":"ib0","root":true,"refcnt":2,"options":{"limit":1000,
 "delay":{"delay":0.02,"jitter":0.005,"correlation":0},"loss-random":{"loss":0.001,"correlation":0},
 "rate":{"rate":125000000,"packetoverhead":0,"cellsize":0,"celloverhead":0},"ecn":false,"gap":0}}]"""

DOMAIN = """<domain type='qemu'><name>ha.oss1</name><devices>
  <disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>
  <disk type='file' device='disk'><target dev='vdb' bus='virtio'/><serial>lustre-OST0000</serial>
    <iotune><total_bytes_sec>1000000</total_bytes_sec><total_iops_sec>20</total_iops_sec></iotune></disk>
  <interface type='network'><mac address='52:54:00:00:00:01'/><link state='up'/></interface>
  <interface type='network'><mac address='52:54:00:00:00:0A'/><target dev='vnet3'/><link state='down'/></interface>
</devices></domain>"""


def test_a_netem() -> None:
    argv = Netem(delay="20ms", jitter="5ms", loss="0.1%", rate=Rate.parse("1Gbit/s")).argv("ib0")
    assert argv[:6] == ("tc", "qdisc", "replace", "dev", "ib0", "root")
    assert argv[6:] == ("netem", "delay", "20ms", "5ms", "loss", "0.1%", "rate", "1000000000bit")
    assert Netem(loss="100%").argv("ib0")[6:] == ("netem", "loss", "100%")


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"delay": "20"},
        {"delay": "-1ms"},
        {"loss": "101%"},
        {"loss": "1"},
        {"jitter": "5ms"},
        {"delay": "1ms; reboot"},
        {"delay": "20ms", "jitter": "x"},
    ],
)
def test_no_netem(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Netem(**how)


def test_what_tc_tells() -> None:
    assert read_netem(QDISCS) == {"ib0": "delay 20 ms \N{PLUS-MINUS SIGN} 5 ms, loss 0.1 %, rate 125MB/s"}
    assert read_netem("") == {}
    assert read_netem('[{"kind": "netem", "dev": "a"}, {"kind": "netem"}, 7]') == {"a": "netem"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_what_tc_does_not_tell(value: object) -> None:
    text = json.dumps([{"kind": "netem", "dev": "a", "options": value}, value])
    assert list(read_netem(text)) == ["a"]


def test_what_a_domain_tells() -> None:
    found = read_faults(DOMAIN)
    assert found.links_down == {"52:54:00:00:00:0a"}
    assert found.slow == {"lustre-OST0000": "1,000,000 bytes/s at most, 20 operations/s at most"}
    assert target_of(DOMAIN, "lustre-OST0000") == "vdb"
    assert target_of(DOMAIN, "other") is None


def test_a_link_is_written_back_whole() -> None:
    written = with_link(DOMAIN, "52:54:00:00:00:0a", up=True)
    assert written is not None
    assert '<link state="up"/>' in written
    assert "vnet3" in written
    assert with_link(DOMAIN, "52:54:00:00:00:ff", up=True) is None
