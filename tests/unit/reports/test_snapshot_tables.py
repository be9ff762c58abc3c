"""What `snapshot list` and `show` print."""

import pytest

from vmlab.lab.beds.snapshots import SnapshotLine
from vmlab.plan.snapshots import KeptDisk, KeptNode, Snapshot
from vmlab.report.snapshots import kept_table, mib, snapshot_table

MOMENT = "2026-11-29T07:00:00+00:00"


def test_the_list_says_what_can_be_gone_back_to() -> None:
    lines = [
        SnapshotLine("formatted", MOMENT, 2, 3, memory=True, size=280 << 20, topology="0123456789ab", differs=""),
        SnapshotLine("old", MOMENT, 0, 3, memory=False, size=1, topology="ba9876543210", differs="oss1 was changed"),
    ]
    text = snapshot_table(lines).text(None, coloured=False)
    assert text is not None
    heading, first, second = text.splitlines()
    assert heading.split() == ["SNAPSHOT", "CREATED", "RUNNING", "SIZE", "TOPOLOGY", "REVERT"]
    assert first.split()[0] == "formatted"
    assert first.split()[3:] == ["2", "of", "3", "280MiB", "0123456789ab", "yes"]
    assert second.endswith("0 of 3   1MiB    ba9876543210  no: oss1 was changed")


def test_one_is_shown_with_its_nodes_and_files() -> None:
    nodes = (KeptNode("n1", "running", "d1", "demo", "ha._snap.a.n1.memory"), KeptNode("n2", "off", "d2", "demo", ""))
    text = kept_table(
        Snapshot("ha", "a", MOMENT, nodes, (KeptDisk("ha._snap.a.n1.root.qcow2", "ha.n1.root.qcow2"),))
    ).text(None, coloured=False)
    assert text is not None
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["n1", "running", "demo", "d1", "ha._snap.a.n1.memory"],
        ["n2", "off", "demo", "d2", "-"],
        ["-", "disk", "-", "-", "ha._snap.a.n1.root.qcow2"],
    ]


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1, "1MiB"), (280 << 20, "280MiB"), (3 << 30, "3GiB")])
def test_sizes_are_whole_mebibytes(size: int, text: str) -> None:
    assert mib(size) == text
