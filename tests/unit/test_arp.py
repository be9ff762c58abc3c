"""ARP probes between network namespaces that a veth pair joins."""

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from other_users import ALICE, as_user, needs_root

from vmlab.errors import HostError
from vmlab.runtime.wait import Deadline, until
from vmlab.virt.arp import answering

pytestmark = needs_root

_ASK = """
import json, sys
from ipaddress import IPv4Address
from vmlab.errors import HostError
from vmlab.virt.arp import answering
try:
    found = answering(sys.argv[1], [IPv4Address(word) for word in sys.argv[2:]])
except HostError as error:
    print(json.dumps(error.message))
else:
    print(json.dumps({str(address): who for address, who in found.items()}))
"""


class Namespace:
    """A network namespace that a sleeping process keeps."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(("unshare", "--net", "sleep", "120"))
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{self.pid}/ns/net")
        assert until(lambda: theirs.readlink() != ours.readlink(), Deadline.after(10))

    @property
    def pid(self) -> int:
        return self._keeper.pid

    def argv(self, *argv: str) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self.pid), "--net", "--", *argv)

    def ip(self, words: str) -> None:
        subprocess.run(self.argv("ip", *words.split()), check=True)

    def ask(self, interface: str, *addresses: str) -> "subprocess.Popen[str]":
        asking = self.argv(sys.executable, "-c", _ASK, interface, *addresses)
        return subprocess.Popen(asking, stdout=subprocess.PIPE, text=True)

    def end(self) -> None:
        self._keeper.kill()
        self._keeper.wait()


def said(asking: "subprocess.Popen[str]") -> object:
    return json.loads(asking.communicate(timeout=60)[0])


@pytest.fixture
def here() -> Iterator[Namespace]:
    namespace = Namespace()
    yield namespace
    namespace.end()


@pytest.fixture
def there(here: Namespace) -> Iterator[Namespace]:
    """Joined with `here`, where a bridge has the other end; 10.99.0.5 is there, 10.99.0.1 the host's own."""
    namespace = Namespace()
    here.ip("link add br0 type bridge")
    here.ip(f"link add near type veth peer name far address 02:00:00:00:00:05 netns {namespace.pid}")
    here.ip("link set near master br0")
    here.ip("address add 10.99.0.1/24 dev br0")
    for name in ("near", "br0"):
        here.ip(f"link set {name} up")
    namespace.ip("address add 10.99.0.5/24 dev far")
    namespace.ip("link set far up")
    yield namespace
    namespace.end()


@pytest.mark.usefixtures("there")
def test_who_has_an_address_answers_and_the_host_itself_does(here: Namespace) -> None:
    found = said(here.ask("br0", "10.99.0.5", "10.99.0.6", "10.99.0.1"))
    assert found == {"10.99.0.5": "02:00:00:00:00:05", "10.99.0.1": "this host"}


def test_nobody_s_cache_learns_of_a_probe(here: Namespace, there: Namespace) -> None:
    assert said(here.ask("br0", "10.99.0.5")) == {"10.99.0.5": "02:00:00:00:00:05"}
    neighbours = subprocess.run(there.argv("ip", "neigh", "show"), capture_output=True, text=True, check=True)
    assert neighbours.stdout == ""


def test_two_who_are_about_to_take_an_address_hear_of_each_other(here: Namespace, there: Namespace) -> None:
    one, other = here.ask("br0", "10.99.0.7"), there.ask("far", "10.99.0.7")
    assert said(one) == {"10.99.0.7": "02:00:00:00:00:05"}
    assert "10.99.0.7" in str(said(other))


def test_where_nobody_can_look_that_is_said(here: Namespace, there: Namespace) -> None:
    here.ip("link set br0 down")
    assert said(here.ask("br0", "10.99.0.5")) == "nobody could look on br0: Network is down"
    assert said(there.ask("none", "10.99.0.5")) == "nobody could look on none: No such device"


def test_without_the_right_to_look() -> None:
    def look() -> str:
        try:
            return str(answering("lo", [IPv4Address("192.0.2.1")]))
        except HostError as error:
            return error.message

    assert as_user(ALICE, look) == "nobody could look on lo: Operation not permitted"
