"""Guests that power nodes of their bed, and guests that try to do more: over real sockets, on libvirt's test driver."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from vmlab.errors import BusyError, HostError, UsageError
from vmlab.lab.beds import serve
from vmlab.lab.beds.channel import begin
from vmlab.lab.beds.power import power
from vmlab.lab.beds.rights import Rights
from vmlab.lab.beds.up import up
from vmlab.lab.ground.bed import existing
from vmlab.lab.ground.hosts import Hosts, only
from vmlab.lab.ground.progress import Silent
from vmlab.service import conversation, process, unit
from vmlab.service.conversation import converse
from vmlab.service.request import Request
from vmlab.topology import Topology, loads
from vmlab.values.ssh_uri import SshUri
from vmlab.virt import observe
from vmlab.virt.channels import Ends, power_ends
from vmlab.virt.connection import Away, Host

from .conftest import simulated_hosts

OTHER = loads("name: other\nnodes: {mds1: {role: mds, memory: 256MiB}, mds9: {role: mds, memory: 256MiB}}\n", "o.yaml")
RIGHTS = """
name: rights
nodes:
  c1: {role: client, memory: 256MiB, powers: []}
  c2: {role: client, memory: 256MiB, powers: ["@mds", c1]}
  "m[1-2]": {role: mds, memory: 256MiB}
  o1: {role: oss, memory: 256MiB}
"""


def raised(host: Host, topology: Topology) -> None:
    up(only(host), topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())


@pytest.fixture
def beds(host: Host, bed: Topology, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(conversation, "_PAUSE_S", 0.0)
    raised(host, bed)
    raised(host, OTHER)
    return host


class Guest:
    """The guest's side of its channel."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(20)
        self.lines = connection.makefile("r")

    def says(self, data: bytes) -> None:
        self.connection.sendall(data)

    def hears(self) -> str:
        return self.lines.readline().rstrip("\n")

    def asks(self, request: str, number: str = "7") -> str:
        self.says(f"\n{number} {request}\n".encode())
        while not (line := self.hears()).startswith(f"{number} "):
            assert line, "the host hung up"
        return line.partition(" ")[2]


def channel(act: Callable[[Request], str]) -> tuple[Guest, threading.Thread]:
    ours, guests = socket.socketpair()

    def talk() -> None:
        with ours:
            converse(ours, act)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return Guest(guests), thread


@pytest.fixture
def client(beds: Host) -> Iterator[Guest]:
    guest, thread = channel(Rights(only(beds), "ha", "client1").act)
    yield guest
    guest.lines.close()
    guest.connection.close()
    thread.join(10)
    assert not thread.is_alive()


def states(host: Host, bed: str) -> dict[str, str]:
    return {name: domain.state for name, domain in existing(only(host), bed).nodes.items()}


def test_a_guest_powers_nodes_of_its_bed(beds: Host, client: Guest) -> None:
    assert client.asks("status *") == "ok on=mds[1-2],oss[1-2]"
    assert client.asks("off oss1") == "ok off=oss1"
    assert states(beds, "ha")["oss1"] == "shut off"
    assert client.asks("off oss1") == "ok off=oss1"
    assert client.asks("status @oss") == "ok on=oss2 off=oss1"
    assert client.asks("on oss[1-2]") == "ok on=oss[1-2]"
    assert client.asks("cycle mds1,oss2") == "ok on=mds1,oss2"
    assert set(states(beds, "ha").values()) == {"running"}


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("off client1", "client1 powers mds[1-2],oss[1-2]: no node is called `client1` "),
        ("off other.mds1", "no node is called `other.mds1`"),
        ("off mds9", "no node is called `mds9`"),
        ("off ha.mds1", "no node is called `ha.mds1`"),
        ("off 5b1bc070-2c4d-55b3-a944-482b5b3fb352", "no node is called"),
        ("off 1", "no node is called `1`"),
        ("off oss1,mds9", "no node is called `mds9`"),
        ("off oss[1-99999999]", "too many nodes"),
        ("off " + "[1-64]" * 20, "too many nodes"),
        ("off @client", "no node has the role `client`"),
        ("off ../../mds1", "is no node set"),
        ("off $(reboot)", "is no node set"),
        ("off ,", "an empty node set"),
        ("destroy mds1", "expected: NUMBER on|off|cycle|status NODES"),
        ("off", "expected: NUMBER"),
        ("OFF mds1", "expected: NUMBER"),
        ("off mds1 mds2", "expected: NUMBER"),
        ("off " + "a" * 3000, "expected: NUMBER"),
    ],
)
def test_what_a_guest_may_not(beds: Host, client: Guest, asked: str, why: str) -> None:
    before = states(beds, "ha"), states(beds, "other")
    answer = client.asks(asked)
    assert answer.startswith("no ")
    assert why in answer
    assert len(answer) < 500
    assert "other" not in answer.replace("other.mds1", "")
    assert (states(beds, "ha"), states(beds, "other")) == before
    assert client.asks("status mds1", "8") == "ok on=mds1"


@pytest.mark.parametrize(
    "noise",
    [
        b"\0" * 5000 + b"\n",
        os.urandom(20_000).replace(b"\n", b"") + b"\n",
        b"1 off mds1" * 3000 + b"\n",
        b"1 off ",
        b"\n" * 10_000,
        b"\xff\xfe off mds1\n",
        b"1 off mds1\r\n",
        "1 off möds1\n".encode(),
        b"1  off mds1\n",
        b"-1\n" * 500 + b"nonsense\n" * 500,
    ],
    ids=["zeros", "random", "long line", "half a message", "empty lines", "binary", "CR", "UTF-8", "blanks", "many"],
)
def test_noise_is_passed_over(beds: Host, client: Guest, noise: bytes) -> None:
    client.says(noise)
    assert client.asks("status mds1") == "ok on=mds1"
    assert set(states(beds, "ha").values()) == {"running"}


def test_a_flood_takes_no_memory(client: Guest) -> None:
    client.asks("status mds1")
    tracemalloc.start()
    for _ in range(200):
        client.says(b"x" * 100_000)
    assert client.asks("status mds1") == "ok on=mds1"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_flood_of_requests_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PAUSE_S", 0.02)
    asked: list[str] = []
    guest, _ = channel(lambda request: asked.append(request.number) or "on=x")  # type: ignore[func-returns-value]
    begin = time.monotonic()
    assert [guest.asks("status x", f"{number}") for number in range(20)] == ["ok on=x"] * 20
    assert time.monotonic() - begin > 0.35


def test_a_flood_of_requests_is_soon_over(client: Guest) -> None:
    """Nobody waits for their answers."""
    client.says(b"".join(b"%d cycle mds1\n" % number for number in range(10_000)))
    begin = time.monotonic()
    assert client.asks("status mds1", "mine") == "ok on=mds1"
    assert time.monotonic() - begin < 20


def test_answers_that_nobody_reads_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PAUSE_S", 0.0)
    monkeypatch.setattr(conversation, "_UNREAD_S", 0.2)
    ours, guests = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def flood() -> None:
        while True:
            try:
                guests.sendall(b"1 status x\n" * 100)
            except OSError:
                return

    threading.Thread(target=flood, daemon=True).start()
    with pytest.raises(TimeoutError):
        converse(ours, lambda _: "on=" + "x" * 300)
    ours.close()


@pytest.mark.parametrize("error", [HostError("no\nroom \x1b[31m"), UsageError("x" * 5000)])
def test_a_refusal_is_one_line(error: Exception) -> None:
    def act(_: Request) -> str:
        raise error

    guest, _ = channel(act)
    answer = guest.asks("off x")
    assert answer.isprintable()
    assert answer.startswith(("no no room ?[31m", "no xxx"))
    assert len(answer) < 500


def test_rights_are_the_files(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PAUSE_S", 0.0)
    raised(host, loads(RIGHTS, "rights.yaml"))

    def of(node: str) -> Guest:
        return channel(Rights(only(host), "rights", node).act)[0]

    assert of("c2").asks("status *") == "ok on=c1,m[1-2]"
    assert of("c2").asks("off o1").startswith("no c2 powers c1,m[1-2]: no node is called `o1`")
    for node in ("c1", "m1"):
        assert of(node).asks("off m2") == f"no {node} powers no other node"
    assert of("gone").asks("off m2") == "no rights has no node gone any more"


def test_a_copy_of_a_node_is_nobody(beds: Host, client: Guest) -> None:
    """virt-clone copies metadata with all else; name and UUID are its own."""
    connection = beds._connection
    xml = connection.lookupByName("ha.mds1").XMLDesc()
    copied = re.sub("<uuid>.*?</uuid>", "", xml).replace("ha.mds1<", "ha.mds3<", 1)
    copied = re.sub(r"<mac address='[^']*'/>", "", copied)
    connection.defineXML(copied).create()
    assert client.asks("off mds3").startswith("no client1 powers mds[1-2],oss[1-2]: no node is called `mds3`")
    assert connection.lookupByName("ha.mds3").isActive()
    assert power_ends(beds, "ha", {}).sockets == {}, "the test driver makes no sockets"


def test_a_node_that_crashed_is_on_for_a_board(beds: Host, client: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(observe._STATES, 1, "crashed")  # all that run
    assert client.asks("status mds1") == "ok on=mds1"
    assert client.asks("on mds1").startswith("no the kernel of mds1 crashed, and its memory is kept")
    with pytest.raises(HostError, match="the kernel of mds1 crashed") as refused:
        power(only(beds), "ha", "mds1", "on", Silent())
    assert "vmlab power cycle ha mds1" in refused.value.hint
    assert client.asks("off mds1") == "ok off=mds1"


def test_the_service_follows_its_guests(beds: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that starts anew has another socket; the service is gone when the bed is."""
    monkeypatch.setattr(serve, "_LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(serve, "_GONE_S", 0.3)
    ends = Ends(there=True, sockets={})
    monkeypatch.setattr(serve, "power_ends", lambda *_: ends)
    monkeypatch.setattr(serve, "Host", lambda *_: beds)  # each connection to a test driver is a host of its own
    thread = threading.Thread(target=serve._Service({"local": beds.way}, "ha", tmp_path).run, daemon=True)
    thread.start()
    for start in (1, 2):
        path = tmp_path / f"socket{start}"
        with socket.socket(socket.AF_UNIX) as qemu:
            qemu.bind(str(path))
            qemu.listen(1)
            qemu.settimeout(10)
            ends = Ends(there=True, sockets={("client1", start): str(path)})
            connection, _ = qemu.accept()
            with connection:
                assert Guest(connection).asks("status mds1") == "ok on=mds1"
            again, _ = qemu.accept()  # QEMU is there: it was only the connection
            with again:
                assert Guest(again).asks("status mds2") == "ok on=mds2"
    ends = Ends(there=False, sockets={})
    thread.join(10)
    assert not thread.is_alive()


WIDE = """
name: wide
hosts: {kvm1: {}, kvm2: {}}
nodes:
  c1: {role: client, memory: 256MiB, host: kvm1, powers: "*"}
  m1: {role: mds, memory: 256MiB, host: kvm1}
  "o[1-2]": {role: oss, memory: 256MiB, host: kvm2}
"""


@pytest.fixture
def hosts(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """`host` is there for the environment and the image."""
    del host
    monkeypatch.setattr(conversation, "_PAUSE_S", 0.0)
    with simulated_hosts(tmp_path, "kvm1", "kvm2") as hosts:
        topology = loads(WIDE, "wide.yaml")
        up(hosts, topology, accel="auto", restart=False, timeout_s=60, jobs=1, wait=False, progress=Silent())
        yield hosts


def test_a_guest_powers_nodes_on_all_hosts_of_its_bed(hosts: Hosts) -> None:
    asks = channel(Rights(hosts, "wide", "c1").act)[0].asks
    assert asks("status *") == "ok on=m1,o[1-2]"
    assert asks("off o1") == "ok off=o1"
    assert observe.observe(hosts["kvm2"]).domains["wide.o1"].state == "shut off"
    assert asks("cycle o1,m1") == "ok on=m1,o1"


def test_nobody_says_what_is_on_a_host_that_is_away(hosts: Hosts) -> None:
    """The nodes there are known by what the last `up` noted; what is asked of the others is done."""
    away = {"kvm2": Away("kvm2", hosts["kvm2"].uri, HostError("it is off"))}
    asks = channel(Rights(Hosts({"kvm1": hosts["kvm1"]}, away, "kvm1"), "wide", "c1").act)[0].asks
    assert asks("status *") == "ok on=m1 unknown=o[1-2]"
    assert asks("off m1") == "ok off=m1"
    for nodes, told in (("o1", "o1"), ("*", "o[1-2]"), ("@oss,m1", "o[1-2]")):
        assert asks(f"on {nodes}") == f"no {told} is on a host that is away"
    assert observe.observe(hosts["kvm1"]).domains["wide.m1"].state == "shut off"
    assert asks("off o3").startswith("no c1 powers m1,o[1-2]: no node is called `o3`")


def test_a_host_that_is_away_keeps_no_other_waiting(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again until it answers, and then its guests are answered, too."""
    for name, seconds in (("_LOOK_EVERY_S", 0.02), ("_AGAIN_S", 0.02), ("_GONE_S", 0.3)):
        monkeypatch.setattr(serve, name, seconds)
    answers = threading.Event()
    ends = {name: Ends(there=True, sockets={}) for name in hosts}

    def opened(_uri: str, name: str, _ssh: SshUri | None) -> Host:
        if name == "kvm2" and not answers.is_set():
            raise HostError("it is off")
        return hosts[name]

    monkeypatch.setattr(serve, "Host", opened)
    monkeypatch.setattr(serve, "power_ends", lambda host, *_: ends[host.name])
    service = serve._Service({name: host.way for name, host in hosts.items()}, "wide", tmp_path)
    thread = threading.Thread(target=service.run, daemon=True)
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.bind(str(tmp_path / "c1"))
        qemu.listen(1)
        qemu.settimeout(30)
        ends["kvm1"] = Ends(there=True, sockets={("c1", 1): str(tmp_path / "c1")})
        thread.start()
        connection, _ = qemu.accept()
        with connection:
            guest = Guest(connection)
            assert guest.asks("status *") == "ok on=m1 unknown=o[1-2]"
            answers.set()
            assert until(lambda: guest.asks("status *") == "ok on=m1,o[1-2]")
        ends["kvm1"] = Ends(there=False, sockets={})
        thread.join(1)
        assert thread.is_alive(), "something of it is on the other host"
    ends["kvm2"] = Ends(there=False, sockets={})
    thread.join(30)
    assert not thread.is_alive()


def test_a_service_is_for_the_hosts_that_it_was_begun_for(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are away are among them; with another one it is begun anew."""
    monkeypatch.setattr(type(hosts), "have_guests", True)
    begun: list[Sequence[str]] = []
    alive: set[str] = set()
    monkeypatch.setattr(process, "begin", lambda _, argv: begun.append(argv))
    monkeypatch.setattr(process, "alive", lambda _, what: what in alive)
    nodes = list(existing(hosts, "wide").metadata.values())
    assert begin(hosts, "wide", nodes)
    uris = [word for name, host in hosts.items() for word in (name, host.uri, "")]
    assert list(begun[0][5:]) == uris
    alive.add(process.digest(uris))
    for away in ("kvm1", "kvm2"):
        left = {name: host for name, host in hosts.items() if name != away}
        some = Hosts(left, {away: Away(away, hosts[away].uri, HostError("it is off"))}, "kvm1")
        assert not begin(some, "wide", nodes)
    assert begin(only(hosts["kvm1"]), "wide", nodes)


CLAIMS = """
import sys, time
from pathlib import Path
from vmlab.service import process
with process.claimed(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_there_is_one_service_until_it_is_killed(tmp_path: Path) -> None:
    assert not process.alive(tmp_path)
    process.end(tmp_path)
    begun = [sys.executable, "-c", CLAIMS, str(tmp_path)]
    process.begin(tmp_path, begun)
    assert until(lambda: process.alive(tmp_path))
    with pytest.raises(BusyError), process.claimed(tmp_path):
        pass
    os.kill(int((tmp_path / "power.lock").read_text().split()[0]), signal.SIGKILL)
    assert until(lambda: not process.alive(tmp_path))
    process.begin(tmp_path, begun)
    assert until(lambda: process.alive(tmp_path))
    process.end(tmp_path)
    assert not process.alive(tmp_path)
    assert (tmp_path / "power.log").read_text().count("mine\n") == 2


def test_a_file_that_says_another_process_is_no_reason_to_kill_it(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as innocent:
        (tmp_path / "power.lock").write_text(f"{innocent.pid} 0\n")
        process.end(tmp_path)
        assert innocent.poll() is None
        innocent.kill()


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_the_unit_says_all_that_the_process_needs() -> None:
    argv = ("/opt/my venv/bin/python", "-m", "x", "qemu:///system", "local", "ha", "/var/lib/50%/$HOME")
    text = unit.text("ha", argv, {"VMLAB_STATE_DIR": "/a b", "PATH": "/bin"}, Path("/a 100%/power.log"))
    assert "StandardError=append:/a 100%%/power.log\n" in text
    assert 'ExecStart="/opt/my venv/bin/python" "-m" "x" "qemu:///system" "local" "ha" "/var/lib/50%%/$$HOME"\n' in text
    assert 'Environment="PATH=/bin"\nEnvironment="VMLAB_STATE_DIR=/a b"\n' in text
    assert "Restart=on-failure\n" in text
    assert "WantedBy=multi-user.target\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    path = tmp_path / "vmlab-power-x-ha.service"
    argv = (sys.executable, "-m", "x", "qemu:///system")
    path.write_text(unit.text("ha", argv, {"VMLAB_STATE_DIR": "/a b"}, tmp_path / "50% of it.log"))
    verified = subprocess.run(("systemd-analyze", "verify", str(path)), capture_output=True, text=True, check=False)
    assert (verified.returncode, path.name in verified.stderr) == (0, False), verified.stderr


SCRIPT = Path(conversation.__file__).parents[1] / "guest/vmlab_power.sh"


def test_the_guests_command_takes_no_late_answer_for_its_own() -> None:
    ours, port = os.openpty()
    subprocess.run(("stty", "raw", "-echo"), stdin=port, check=True)
    asking = ("sh", str(SCRIPT), "--ask", os.ttyname(port), "b-2 off mds1")
    asked = b""
    with subprocess.Popen(asking, stdout=subprocess.PIPE, text=True) as guest:
        try:
            while not asked.endswith(b"mds1\n"):
                asked += os.read(ours, 100)
            os.write(ours, b"a-1 ok on=mds1\nb-22 ok on=mds1\nb-2 ok off=mds1\n")
            assert guest.communicate(timeout=20) == ("ok off=mds1\n", None)
        finally:
            guest.kill()
    assert asked == b"\nb-2 off mds1\n"
    os.close(ours)
    os.close(port)


@pytest.mark.parametrize("arguments", [(), ("--off",), ("--explode", "mds1"), ("--help",)])
def test_the_guests_command_wants_a_verb_and_nodes(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(("sh", str(SCRIPT), *arguments), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:18]) == (2, "usage: vmlab-power")
