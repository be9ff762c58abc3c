import pytest

from vmlab.errors import UsageError
from vmlab.topology import loads
from vmlab.topology.select import select

NODES = {"mds1": ("mgs", "mds"), "oss1": ("oss",), "oss2": ("oss",), "client1": ("client",), "fta01": ("fta",)}


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("oss1", ["oss1"]),
        ("oss[1-2]", ["oss1", "oss2"]),
        ("oss2,oss1", ["oss2", "oss1"]),
        ("@oss", ["oss1", "oss2"]),
        ("@oss,client1", ["oss1", "oss2", "client1"]),
        ("oss2,@oss", ["oss2", "oss1"]),
        ("@mgs", ["mds1"]),
        ("*", list(NODES)),
        ("oss*, fta01", ["oss1", "oss2", "fta01"]),
    ],
)
def test_select(expression: str, chosen: list[str]) -> None:
    assert select(expression, NODES) == tuple(chosen)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("oss3", r"no node is called `oss3` \(did you mean `oss2`\?\)"),
        ("os[1-2]", r"no node is called `os1` \(did you mean `oss1`\?\)"),
        ("@ost", r"no node has the role `ost` \(did you mean `oss`\?\)"),
        ("x*", r"no node is called `x\*`"),
        ("", "an empty node set"),
        ("oss1,", "an empty node set"),
        ("oss[1-", "no node set"),
        ("oss[1-999999]", "too many nodes"),
        ("oss1!oss2", "no node set"),
        ("oss1; reboot", "no node set"),
    ],
)
def test_refusals(expression: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        select(expression, NODES)


def test_of_a_topology() -> None:
    topology = loads('name: a\nnodes: {"oss[1-3]": {role: oss}, client1: {role: client}}')
    assert topology.select("@client,oss[2-3]") == ("client1", "oss2", "oss3")
