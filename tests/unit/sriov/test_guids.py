"""GUIDs: their forms, and pools of valid ones that never meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.inventory.guids import guids_of, vf_guids
from vmlab.values.guid import NO_GUID, Guid

from .hosts import CX3, CX5, GUID, IGB, hosts

ports = st.integers(1, (1 << 64) - 2).map(Guid)
numbers = st.integers(0, (1 << 15) - 1)


@given(st.sets(ports, min_size=1, max_size=8), st.sets(numbers, min_size=1, max_size=16))
def test_valid_local_and_distinct(pf_ports: set[Guid], vfs: set[int]) -> None:
    pairs = [vf_guids(port, number) for port in pf_ports for number in vfs]
    made = [guid for pair in pairs for guid in (pair.node, pair.port)]
    assert len(set(made)) == len(made)
    for guid in made:
        assert guid.valid
        assert guid.value >> 56 == 0x02  # locally administered, of one port and not of a group
        assert guid not in pf_ports


def test_stable() -> None:
    """These are written down by sites: another release must not change them."""
    pair = vf_guids(Guid.parse(GUID), 5)
    assert (str(pair.node), str(pair.port)) == ("0210:198e:c381:000a", "0210:198e:c381:000b")


def test_of_a_function() -> None:
    functions = hosts().functions
    assert guids_of(functions[CX5], 0) == {1: vf_guids(Guid.parse(GUID), 0)}
    assert list(guids_of(functions[CX3], 3)) == [1]  # its second port is Ethernet
    assert guids_of(functions[IGB], 0) == {}


def test_no_pool_without_a_port() -> None:
    for bad in (Guid(0), NO_GUID):
        with pytest.raises(ValueError, match="is no port's GUID"):
            vf_guids(bad, 0)
    for number in (-1, 1 << 15):
        with pytest.raises(ValueError, match="no virtual function"):
            vf_guids(Guid.parse(GUID), number)


@given(st.integers(0, (1 << 64) - 1).map(Guid))
def test_both_forms_are_read(guid: Guid) -> None:
    assert Guid.parse(str(guid)) == Guid.parse(guid.octets.upper()) == guid


@pytest.mark.parametrize(
    "text", ["", "52:54:00:00:00:01", "0002:c903:0028", "0002c9030028f3a1", f"{GUID}:00", f" {GUID}"]
)
def test_no_guid(text: str) -> None:
    with pytest.raises(ValueError, match="expected the form 0011:2233:4455:6677"):
        Guid.parse(text)
