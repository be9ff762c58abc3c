from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from vmlab.values import nodeset
from vmlab.values.nid import Nid, parse_net
from vmlab.values.pci import PciAddress
from vmlab.values.size import Bytes, any_size, size_text


@given(st.integers(0, 10**15))
def test_sizes_round_trip(number: int) -> None:
    assert Bytes.parse(str(Bytes(number))) == number


def test_sizes() -> None:
    size = Bytes.parse("1536MiB")
    assert (size, size.kib, str(size), f"{size}") == (3 << 29, 1536 << 10, "1536MiB", "1536MiB")
    assert str(Bytes(4 << 30)) == "4GiB"


@pytest.mark.parametrize("text", ["4", "8GB", "1.5GiB", "-1GiB", "4 GiB", "gib", "", "4gib", "٤GiB", 4, None, True])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number and an IEC unit, such as 512MiB or 4GiB"):
        Bytes.parse(text)


def test_sizes_in_pydantic() -> None:
    class Model(BaseModel):
        size: Bytes = Bytes(0)

    model = Model.model_validate({"size": "4GiB"})
    assert isinstance(model.size, Bytes)
    assert model.model_dump_json() == '{"size":"4GiB"}'
    assert Model.model_validate_json(model.model_dump_json()) == model
    with pytest.raises(ValidationError, match="8GB"):
        Model.model_validate({"size": "8GB"})


@given(st.builds(PciAddress, *(st.integers(0, most) for most in (0xFFFF_FFFF, 0xFF, 0x1F, 7))))
def test_pci_addresses_round_trip(address: PciAddress) -> None:
    assert PciAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["41:00.0", "0000:41:00.8", "0000:41:20.0", "0000:41:00.0\n", "pci_0000_41_00_0", ""])
def test_what_is_no_pci_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected the form 0000:41:00\.0"):
        PciAddress.parse(text)


def test_nids() -> None:
    nid = Nid.parse("10.77.1.11@o2ib0")
    assert nid == Nid(IPv4Address("10.77.1.11"), "o2ib")
    assert str(nid) == "10.77.1.11@o2ib"
    assert [parse_net(net) for net in ("tcp", "tcp0", "tcp1", "o2ib12")] == ["tcp", "tcp", "tcp1", "o2ib12"]
    for text in ("tcp01", "o2ib70000", "lo", "", "tcp-1"):
        with pytest.raises(ValueError, match="no LNet network"):
            parse_net(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("oss1", ["oss1"]),
        ("oss[1-3]", ["oss1", "oss2", "oss3"]),
        ("fta[09-11]", ["fta09", "fta10", "fta11"]),
        ("mds2, mds1", ["mds2", "mds1"]),
        ("n[1-5/2,9]", ["n1", "n3", "n5", "n9"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("n1,n[1-2]", ["n1", "n2"]),
    ],
)
def test_node_sets(text: str, names: list[str]) -> None:
    assert list(nodeset.expand(text)) == names


@pytest.mark.parametrize(
    "text", ["", "a,", "n[", "n[]", "n[1-]", "n[2-1]", "n[1-2", "n]", "n[9-011]", "@a", "a b", "a!b"]
)
def test_what_is_no_node_set(text: str) -> None:
    with pytest.raises(ValueError, match="no node set"):
        nodeset.expand(text)


@pytest.mark.parametrize("text", ["n[1-99999999]", "n[1-5000]", "a[1-99]b[1-99]", "n[1-4000],m[1-4000]", "[1-9]" * 99])
def test_huge_node_sets_are_refused_before_they_are_unfolded(text: str) -> None:
    with pytest.raises(ValueError, match="too many nodes"):
        nodeset.expand(text)


node_names = st.from_regex(r"[a-z]{1,3}[0-9]{0,3}([a-z-][0-9]{1,2})?", fullmatch=True)


@given(st.lists(node_names, min_size=1, max_size=30, unique=True))
def test_folding_round_trips(names: list[str]) -> None:
    assert set(nodeset.expand(nodeset.fold(names))) == set(names)
    assert nodeset.expand(",".join(names)) == tuple(names)


@given(st.text(alphabet="an01-9[],/ ", max_size=20))
def test_any_text_is_a_node_set_or_a_value_error(text: str) -> None:
    try:
        names = nodeset.expand(text)
    except ValueError:
        return
    assert 0 < len(names) <= nodeset.MOST_NODES


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (4096, "4KiB"),
        (10_000, "10KB"),
        (1_000_000, "1MB"),
        (1_024_000, "1000KiB"),
        (1536, "1536B"),
    ],
)
def test_sizes_are_written_as_they_are_read(size: int, text: str) -> None:
    assert size_text(size) == text
    assert any_size(text) == size
