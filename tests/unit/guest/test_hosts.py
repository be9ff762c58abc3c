"""The step's own scripts, run on a copy of a file: the path is the one thing that differs from a guest."""

import subprocess
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmlab.guest.hosts import hosts_step
from vmlab.steps import Command

HERE = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout.strip()
NODES = {"mds1": IPv4Address("10.0.2.15"), "oss1": IPv4Address("10.0.2.16")}
BLOCK = "# vmlab: begin\n10.0.2.15 mds1\n10.0.2.16 oss1\n# vmlab: end\n"


class Hosts:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "hosts"

    def run(self, command: Command) -> bool:
        argv = [word.replace("/etc/", f"{self.path.parent}/") for word in command]
        return subprocess.run(argv, check=False, stderr=subprocess.PIPE).returncode == 0

    def satisfied(self, nodes: dict[str, IPv4Address]) -> bool:
        return self.run(hosts_step(nodes).check)

    def apply(self, nodes: dict[str, IPv4Address]) -> str:
        (command,) = hosts_step(nodes).apply
        assert self.run(command)
        assert self.satisfied(nodes)
        assert [path.name for path in self.path.parent.iterdir()] == ["hosts"]
        assert self.path.stat().st_mode & 0o777 == 0o644
        return self.path.read_text()


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def test_block_is_added_after_what_is_there(hosts: Hosts) -> None:
    hosts.path.write_text("127.0.0.1 localhost\n192.0.2.1 other")
    assert not hosts.satisfied(NODES)
    assert hosts.apply(NODES) == "127.0.0.1 localhost\n192.0.2.1 other\n" + BLOCK


def test_only_the_block_is_replaced(hosts: Hosts) -> None:
    hosts.path.write_text("127.0.0.1 localhost\n" + BLOCK)
    more = {**NODES, "oss2": IPv4Address("10.0.2.17")}
    assert hosts.satisfied(NODES)
    assert not hosts.satisfied(more)
    longer = BLOCK.replace("# vmlab: end", "10.0.2.17 oss2\n# vmlab: end")
    assert hosts.apply(more) == "127.0.0.1 localhost\n" + longer
    assert hosts.apply(NODES) == "127.0.0.1 localhost\n" + BLOCK


def test_lines_after_the_block_stay(hosts: Hosts) -> None:
    hosts.path.write_text("127.0.0.1 localhost\n" + BLOCK + "192.0.2.1 other\n")
    assert hosts.apply(NODES) == "127.0.0.1 localhost\n192.0.2.1 other\n" + BLOCK


def test_applying_twice_is_the_same(hosts: Hosts) -> None:
    hosts.path.write_text("127.0.0.1 localhost\n")
    assert hosts.apply(NODES) == hosts.apply(NODES)


def test_own_name_does_not_stay_on_a_loopback_address(hosts: Hosts) -> None:
    hosts.path.write_text(f"127.0.0.1 localhost\n127.0.1.1 {HERE}.ha {HERE}\n127.0.1.1 else\n" + BLOCK)
    assert not hosts.satisfied(NODES)
    assert hosts.apply(NODES) == "127.0.0.1 localhost\n127.0.1.1 else\n" + BLOCK


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 localhost\n# vmlab: begin\n10.9.9.9 old\n192.0.2.1 other\n",
        "127.0.0.1 localhost\n# vmlab: end\n192.0.2.1 other\n",
    ],
    ids=["no end", "no begin"],
)
def test_a_damaged_block_takes_nothing_with_it(hosts: Hosts, text: str) -> None:
    hosts.path.write_text(text)
    result = hosts.apply(NODES)
    assert "192.0.2.1 other\n" in result
    assert result.endswith(BLOCK)
    assert result.count("# vmlab") == 2


def test_two_blocks_become_one(hosts: Hosts) -> None:
    hosts.path.write_text("127.0.0.1 localhost\n" + BLOCK + BLOCK)
    assert not hosts.satisfied(NODES)
    assert hosts.apply(NODES) == "127.0.0.1 localhost\n" + BLOCK


def test_ten_thousand_nodes_are_no_argument_too_long_for_the_kernel(hosts: Hosts) -> None:
    nodes = {f"node{number}": IPv4Address("10.1.0.0") + number for number in range(10_000)}
    hosts.path.write_text("127.0.0.1 localhost\n")
    assert len(hosts.apply(nodes).splitlines()) == 10_003
    assert max(len(word.encode()) for word in hosts_step(nodes).check) < 128 << 10


LINES = (
    *("# vmlab: begin", "# vmlab: end", "10.0.2.15 mds1", "10.0.2.16 oss1", "", " # vmlab: end", "*"),
    *(f"127.0.1.1 {HERE}", f" 127.0.1.9\tother {HERE}", "127.0.1.1 other"),
)


@given(st.lists(st.sampled_from(LINES), max_size=12), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_without_a_process_the_same_holds_as_with_awk(lines: list[str], whole: bool, newline: bool) -> None:
    text = "\n".join([*lines, *(BLOCK.splitlines() if whole else ())]) + "\n" * newline
    short, long = hosts_step(NODES), hosts_step({f"node{number}": IPv4Address("10.1.0.0") for number in range(999)})
    assert (short.check[0], short.at_once, long.check[0]) == ("sh", True, "awk")
    (write,), words = long.apply, short.check[5:]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        hosts, by_awk = Hosts(Path(folder)), Hosts(Path(other))
        for one in (hosts, by_awk):
            one.path.write_text(text)
        assert hosts.run(short.check) == by_awk.run((*long.check[:3], *words))
        assert hosts.run(short.apply[0])
        assert by_awk.run((*write[:7], *words))
        assert hosts.path.read_text() == by_awk.path.read_text()


def test_an_absent_file(hosts: Hosts) -> None:
    assert not hosts.satisfied(NODES)
    assert hosts.apply(NODES) == BLOCK
