import contextlib
import getpass
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from sshd import Sshd

from vmlab.errors import GuestError
from vmlab.guest.export import ansible, ssh_config
from vmlab.guest.keys import BedKeys
from vmlab.guest.ssh import Guest
from vmlab.guest.trouble import SshTrouble, Unreachable
from vmlab.lab.measuring.start import CommonStart, own
from vmlab.runtime.process import run
from vmlab.runtime.wait import Deadline, until


def soon() -> Deadline:
    return Deadline.after(20)


def said(guest: Guest, *argv: str) -> str:
    return guest.run(argv, deadline_s=20).stdout


def ours(guest: Guest) -> list[str]:
    """Command lines of ssh processes that belong to this guest."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if (
                f" {guest.port} " in line
                and "ssh" in line
                and "state: Z" not in (folder / "status").read_text().lower()
            ):
                found.append(line)
    return found


@pytest.fixture(params=[False, True], ids=["single", "shared"])
def connected(request: pytest.FixtureRequest, guest: Guest) -> Guest:
    if request.param:
        guest.connect(soon())
    return guest


def test_words_arrive_as_they_are(connected: Guest) -> None:
    words = ["", "a b", "'", '"', "$HOME", "`id`", "a\nb", "*", "\\", "-n", ";", "é"]
    assert said(connected, "printf", "%s|", *words) == "".join(f"{word}|" for word in words)


def test_a_command_cannot_become_an_option(connected: Guest, tmp_path: Path) -> None:
    result = connected.run([f"-oProxyCommand=touch {tmp_path}/owned"], deadline_s=20)
    assert result.status == 127
    assert not (tmp_path / "owned").exists()


def test_status_and_streams_are_the_commands(connected: Guest) -> None:
    result = connected.run(["sh", "-c", "cat; echo two >&2; exit 3"], deadline_s=20, stdin="one\n")
    assert (result.status, result.stdout, result.stderr) == (3, "one\n", "two\n")


@pytest.mark.parametrize("script", ["exit 255", "echo 'curl: (7) Connection refused'; exit 255"])
def test_a_command_may_end_with_255(connected: Guest, script: str) -> None:
    assert connected.run(["sh", "-c", script], deadline_s=20).status == 255


def test_deadline_of_a_command(connected: Guest) -> None:
    started = time.monotonic()
    result = connected.run(["sleep", "30"], deadline_s=0.7)
    assert result.timed_out
    assert time.monotonic() - started < 5


def test_a_command_in_the_guest_ends_at_its_deadline(connected: Guest, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    connected.run(["sh", "-c", 'echo $$ >"$1"; exec sleep 30', "sh", str(marker)], deadline_s=3)
    assert until(lambda: not Path(f"/proc/{marker.read_text().strip()}").exists(), Deadline.after(20))


def test_lines_come_one_by_one(connected: Guest, tmp_path: Path) -> None:
    """The second is only said when the first has been heard."""
    sign = tmp_path / "heard"
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        sign.touch()

    result = connected.stream(
        ["sh", "-c", 'cat; until [ -e "$0" ]; do sleep 0.1; done; echo two; printf three', str(sign)],
        stdin="one\n",
        deadline=soon(),
        on_line=hear,
    )
    assert heard == ["one", "two"]
    assert result.stdout == "one\ntwo\nthree"


def test_one_word_starts_twelve_commands_that_wait_in_the_guest(connected: Guest) -> None:
    """More than one connection has sessions for: some wait over connections of their own."""
    places = range(12)
    with CommonStart(len(places)) as start, ThreadPoolExecutor(len(places)) as pool:
        running = [
            pool.submit(
                connected.run,
                start.waiting(("sh", "-c", f"wc -c; echo {place}; exit {place}")),
                deadline_s=60,
                stdin=start.word(place),
                on_line=start.hear(place),
            )
            for place in places
        ]
        assert start.gather(Deadline.after(60), lambda: False) == []
        assert not any(future.done() for future in running)
        start.give()
        results = [future.result() for future in running]
        assert [(own(r.stdout), r.status) for r in results] == [(f"0\n{place}\n", place) for place in places]
        assert min(map(start.late_s, places)) == 0
        assert max(map(start.late_s, places)) < 20


def test_a_watch_ends_a_stream_at_once(connected: Guest) -> None:
    began = time.monotonic()

    def watch() -> None:
        raise GuestError("dead", node="oss1", stage="roles")

    with pytest.raises(GuestError, match="dead"):
        connected.stream(["sleep", "30"], deadline=soon(), on_line=print, watch=watch)
    assert time.monotonic() - began < 2


def test_a_shared_connection_opens_for_whoever_has_a_shell_that_runs_nothing(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/false")
    guest.connect(soon())
    assert said(guest, "echo", "word") == "word\n"


def test_commands_share_one_connection(guest: Guest, sshd: Sshd) -> None:
    guest.connect(soon())
    guest.connect(soon())
    log = sshd.folder / "log"
    threads = [threading.Thread(target=said, args=(guest, "true")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.read_text().count("Accepted publickey") == 1
    guest.close()
    assert said(guest, "echo", "still") == "still\n"
    assert log.read_text().count("Accepted publickey") == 2


def test_a_guest_need_not_check_its_own_certificate(tmp_path: Path, keys: BedKeys) -> None:
    certificate = tmp_path / "host-cert.pub"
    certificate.write_text(f"{keys.host_certificate('oss1', ('oss1',))}\n")
    sshd = Sshd(tmp_path / "sshd", keys, more=f"HostCertificate {certificate}\nLogLevel DEBUG1")
    sshd.start()
    try:
        with Guest("ha", "oss1", IPv4Address("127.0.0.1"), getpass.getuser(), keys.folder, port=sshd.port) as guest:
            assert said(guest, "echo", "in") == "in\n"
    finally:
        sshd.stop()
    log = (sshd.folder / "log").read_text()
    assert "kex: host key algorithm: ssh-ed25519 [" in log


def test_more_commands_at_once_than_a_connection_has_sessions(guest: Guest) -> None:
    """sshd's MaxSessions is 10 by default; the rest get connections of their own."""
    guest.connect(soon())
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(guest.run(["sleep", "1"], deadline_s=20).status))
        for _ in range(14)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 14


@pytest.mark.parametrize(
    "limits",
    ["MaxSessions 2", "MaxSessions 2\nMaxStartups 2:100:2", "MaxSessions 1", "MaxStartups 1:100:1"],
    ids=lambda limits: limits.replace("\n", ", "),
)
def test_where_sshd_takes_few_at_once_the_others_wait(tmp_path: Path, keys: BedKeys, limits: str) -> None:
    sshd = Sshd(tmp_path / "strict", keys, more=limits)
    sshd.start()
    try:
        with Guest("ha", "oss1", IPv4Address("127.0.0.1"), getpass.getuser(), keys.folder, port=sshd.port) as guest:
            guest.connect(soon())
            results: list[tuple[int, str, str]] = []

            def one(number: int) -> None:
                done = guest.run(["sh", "-c", f"sleep 0.5; echo {number}; exit 3"], deadline_s=60)
                results.append((done.status, done.stdout, done.stderr))

            threads = [threading.Thread(target=one, args=(number,)) for number in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(results) == sorted((3, f"{number}\n", "") for number in range(12))
    finally:
        sshd.stop()


def test_a_refusal_is_never_taken_for_the_commands_status(tmp_path: Path, keys: BedKeys) -> None:
    """Somebody stands at the only door and does not log in."""
    sshd = Sshd(tmp_path / "strict", keys, more="MaxStartups 1:100:1\nLoginGraceTime 60")
    sshd.start()
    guest = Guest("ha", "oss1", IPv4Address("127.0.0.1"), getpass.getuser(), keys.folder, port=sshd.port)
    try:
        with socket.create_connection(("127.0.0.1", sshd.port)) as idle:
            idle.recv(8)
            for ask in (lambda: guest.run(["exit", "255"], deadline_s=4), lambda: guest.connect(Deadline.after(4))):
                with pytest.raises(Unreachable) as caught:
                    ask()
                assert caught.value.trouble is SshTrouble.CLOSED
            with pytest.raises(Unreachable):
                guest.copy([str(tmp_path / "x")], "/nowhere", to_guest=True, deadline_s=4)
        # And is let in as soon as there is room.
        with contextlib.closing(socket.create_connection(("127.0.0.1", sshd.port))) as idle:
            idle.recv(8)
            threading.Timer(1.0, idle.close).start()
            assert guest.run(["echo", "in"], deadline_s=20).stdout == "in\n"
    finally:
        guest.close()
        sshd.stop()


def test_a_command_that_a_signal_ended_has_a_status_as_in_a_shell(connected: Guest) -> None:
    result = connected.run(["sh", "-c", "echo one; echo two >&2; kill -9 $$"], deadline_s=20)
    assert (result.status, result.stdout, result.stderr) == (137, "one\n", "two\n")


MANY = """
import resource, sys
from ipaddress import IPv4Address
from pathlib import Path
from vmlab.guest.ssh import Guest
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
user, folder, port = sys.argv[1:]
guests = [Guest("ha", "oss1", IPv4Address("127.0.0.1"), user, Path(folder), port=int(port)) for _ in range(40)]
each(lambda guest: guest.connect(Deadline.after(60)), guests, jobs=4, failed="not all could be reached")
done = each(lambda guest: guest.run(["cat"], stdin="here", deadline_s=60).stdout, guests, jobs=4, failed="not all ran")
print(done.count("here"), sum(guest.connected for guest in guests))
each(Guest.close, guests, jobs=4, failed="not all were closed")
"""


def test_a_connection_costs_one_descriptor(tmp_path: Path, keys: BedKeys) -> None:
    """So that 500 of them fit into the usual 1024, with what works on them."""
    sshd = Sshd(tmp_path / "strict", keys, more="MaxStartups 100")
    sshd.start()
    try:
        argv = [sys.executable, "-c", MANY, getpass.getuser(), str(keys.folder), str(sshd.port)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout == "40 40\n", done.stderr
        assert not list(keys.folder.glob("mux.*"))
    finally:
        sshd.stop()


def test_close_leaves_nothing(guest: Guest, sshd: Sshd) -> None:
    guest.connect(soon())
    assert len(list(guest.keys_folder.glob("mux.*"))) == 1
    guest.close()
    guest.close()
    assert until(lambda: not sshd.connections(), soon())
    assert not ours(guest)
    assert sorted(path.name for path in guest.keys_folder.iterdir()) == ["id_ecdsa", "known_hosts", "secret"]


def test_two_owners_do_not_take_each_others_connection(guest: Guest) -> None:
    with Guest("ha", "oss1", guest.address, guest.user, guest.keys_folder, port=guest.port) as other:
        guest.connect(soon())
        other.connect(soon())
        guest.close()
        assert other.connected
        assert said(other, "echo", "here") == "here\n"


def test_the_connection_outlives_the_thread_that_opened_it(guest: Guest) -> None:
    thread = threading.Thread(target=guest.connect, args=(soon(),))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert guest.connected
    assert said(guest, "echo", "here") == "here\n"


KILLED = """
import sys, threading
from ipaddress import IPv4Address
from pathlib import Path
from vmlab.guest.ssh import Guest
from vmlab.runtime.wait import Deadline
user, folder, port, shared = sys.argv[1:]
guest = Guest("ha", "oss1", IPv4Address("127.0.0.1"), user, Path(folder), port=int(port))
if shared == "True":
    guest.connect(Deadline.after(20))
for work in (
    lambda: guest.run(["sleep", "600"], deadline_s=900),
    lambda: guest.stream(
        ["sh", "-c", "echo up; sleep 600"], deadline=Deadline.after(900), on_line=lambda line: print(line, flush=True)
    ),
):
    threading.Thread(target=work).start()
"""


@pytest.fixture(params=[False, True], ids=["single", "shared"])
def _killed(request: pytest.FixtureRequest, guest: Guest) -> Iterator[None]:
    """A process that used the guest was killed while its commands ran."""
    argv = [sys.executable, "-c", KILLED, guest.user, str(guest.keys_folder), str(guest.port), str(request.param)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert until(lambda: len(ours(guest)) >= 2 + request.param, soon())
    process.send_signal(signal.SIGKILL)
    process.wait()
    yield
    process.stdout.close()


@pytest.mark.usefixtures("_killed")
def test_no_ssh_survives_a_killed_owner(guest: Guest, sshd: Sshd) -> None:
    assert until(lambda: not ours(guest), Deadline.after(4)), ours(guest)
    assert until(lambda: not sshd.connections(), Deadline.after(4))


@pytest.mark.usefixtures("_killed")
def test_the_next_connection_sweeps_what_a_killed_owner_left(guest: Guest) -> None:
    guest.connect(soon())
    assert len(list(guest.keys_folder.glob("mux.*"))) == 1
    guest.close()
    assert not list(guest.keys_folder.glob("mux.*"))


def test_a_hung_guest_does_not_keep_ssh_of_a_killed_owner(guest: Guest, sshd: Sshd) -> None:
    """The guest's end does not answer any more when the owner is killed."""
    argv = [sys.executable, "-c", KILLED, guest.user, str(guest.keys_folder), str(guest.port), "True"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    stopped = sshd.connections()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    process.wait()
    process.stdout.close()
    assert until(lambda: not ours(guest), Deadline.after(4)), ours(guest)


def test_a_lost_shared_connection_is_no_result(guest: Guest, sshd: Sshd) -> None:
    guest.connect(soon())

    def cut() -> None:
        time.sleep(0.7)
        sshd.stop()

    cutting = threading.Thread(target=cut)
    cutting.start()
    with pytest.raises(Unreachable) as caught:
        guest.run(["sleep", "30"], deadline_s=20)
    cutting.join()  # the fixture stops sshd, too
    assert caught.value.trouble in (SshTrouble.CLOSED, SshTrouble.LOST)


def test_a_connection_that_was_lost_is_replaced(guest: Guest, sshd: Sshd) -> None:
    guest.connect(soon())
    sshd.stop()
    assert until(lambda: not guest.connected, soon())
    sshd.start()
    assert said(guest, "echo", "single") == "single\n"
    guest.connect(soon())
    assert said(guest, "echo", "shared") == "shared\n"


def both(guest: Guest, trouble: SshTrouble) -> Unreachable:
    """`connect` and `run` fail for the same reason."""
    with pytest.raises(Unreachable) as one:
        guest.connect(soon())
    with pytest.raises(Unreachable) as two:
        guest.run(["true"], deadline_s=20)
    assert one.value.trouble is trouble
    assert two.value.trouble is trouble
    assert not list(guest.keys_folder.glob("mux.*"))
    return one.value


def test_another_host_key_is_refused(keys: BedKeys, guest: Guest) -> None:
    other = Guest("ha", "mds1", guest.address, guest.user, keys.folder, port=guest.port)
    error = both(other, SshTrouble.HOST_KEY)
    assert error.message == "what answers at 127.0.0.1 does not have the host key that vmlab gave to mds1"
    assert error.hint == "vmlab console ha mds1"
    assert (error.status, error.node, error.stage) == (6, "mds1", "ssh")


def test_an_unknown_host_is_refused(keys: BedKeys, guest: Guest) -> None:
    both(Guest("ha", "oss9", guest.address, guest.user, keys.folder, port=guest.port), SshTrouble.HOST_KEY)


def test_a_key_that_is_not_authorized(sshd: Sshd, guest: Guest) -> None:
    (sshd.folder / "authorized").write_text("")
    assert both(guest, SshTrouble.LOGIN).message == f"oss1 does not let {guest.user} in with the bed's key"


def test_a_key_file_that_others_may_read(guest: Guest) -> None:
    (guest.keys_folder / "id_ecdsa").chmod(0o644)
    both(guest, SshTrouble.KEY_FILE)


def test_nothing_listens(sshd: Sshd, guest: Guest) -> None:
    sshd.stop()
    error = both(guest, SshTrouble.REFUSED)
    assert error.message == f"nothing listens at 127.0.0.1 port {guest.port}"
    assert not guest.listens(1)
    assert not guest.answers(1)


def test_a_server_that_says_nothing(sshd: Sshd, guest: Guest) -> None:
    sshd.stop()
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", guest.port)):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"127.0.0.1 does not answer") as caught:
            guest.connect(Deadline.after(1))
        assert time.monotonic() - began < 4
        assert caught.value.trouble is SshTrouble.SILENT
        assert guest.listens(1)
        assert not guest.answers(0.3)


def test_answers(guest: Guest) -> None:
    assert guest.listens(5)
    assert guest.answers(5)


def test_a_watch_ends_connect(sshd: Sshd, guest: Guest) -> None:
    def watch() -> None:
        raise GuestError("dead", node="oss1", stage="ssh")

    sshd.stop()
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", guest.port)), pytest.raises(GuestError, match="dead"):
        guest.connect(soon(), watch=watch)
    assert not ours(guest)


def test_the_users_configuration_has_no_influence(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh/config").write_text("Host *\n ProxyCommand false\n User nobody\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "absent"))
    assert said(guest, "echo", "here") == "here\n"


def test_commands_to_paste(guest: Guest) -> None:
    line = shlex.join(guest.argv(["printf", "%s|", "a b", "$HOME"]))
    assert run(["sh", "-c", line], deadline_s=20).stdout == "a b|$HOME|"
    assert guest.argv(tty=True)[-3:] == ("-t", "--", f"{guest.user}@127.0.0.1")
    assert "-oControlPath=none" in guest.argv()


def test_exported_configuration_works(guest: Guest, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(ssh_config([guest]))
    assert run(["ssh", "-F", str(path), "ha.oss1", "echo here"], deadline_s=20).stdout == "here\n"
    # No name of it is another bed's node's, or a real host's.
    assert re.findall(r"^Host (.*)$", path.read_text(), re.MULTILINE) == ["ha.oss1"]


def test_exported_configuration_forwards(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(ssh_config([guest]))
    forward = f"{tmp_path}/socket:127.0.0.1:{guest.port}"
    with subprocess.Popen(
        ["ssh", "-F", str(tmp_path / "config"), "-N", "-L", forward, "ha.oss1"], stderr=subprocess.PIPE
    ) as tunnel:
        try:
            assert until((tmp_path / "socket").exists, Deadline.after(20))
            assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
        finally:
            tunnel.terminate()


def test_an_exported_inventory_has_the_way_in_and_groups(guest: Guest) -> None:
    other = Guest("ha-2", "mds1", IPv4Address("127.0.0.1"), "rocky", guest.keys_folder)
    inventory = yaml.safe_load(ansible({"oss1": guest, "mds1": other}, {"oss1": ("oss",), "mds1": ("mds", "oss")}))
    told = inventory["all"]["hosts"]["ha.oss1"]
    words = ["-p", str(told["ansible_port"]), *shlex.split(told["ansible_ssh_common_args"])]
    at = f"{told['ansible_user']}@{told['ansible_host']}"
    assert run(["ssh", *words, at, "echo here"], deadline_s=20).stdout == "here\n"
    assert {group: list(members["hosts"]) for group, members in inventory["all"]["children"].items()} == {
        "bed_ha": ["ha.oss1"],
        "oss": ["ha.oss1", "ha-2.mds1"],
        "bed_ha_2": ["ha-2.mds1"],
        "mds": ["ha-2.mds1"],
    }


def test_copies_go_both_ways(connected: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "from here"
    (source / "sub").mkdir(parents=True)
    (source / "a:b").write_text("one")
    (source / "sub/c").write_text("two")
    monkeypatch.chdir(source)
    there = tmp_path / "there"
    there.mkdir()
    assert connected.copy(["a:b", "sub"], str(there), to_guest=True, recursive=True).ok
    assert ((there / "a:b").read_text(), (there / "sub/c").read_text()) == ("one", "two")
    assert connected.copy([str(there / "a*"), str(there / "sub")], "back:", to_guest=False, recursive=True).ok is False
    (source / "back:").mkdir()
    assert connected.copy([str(there / "a*"), str(there / "sub")], "back:", to_guest=False, recursive=True).ok
    assert ((source / "back:/a:b").read_text(), (source / "back:/sub/c").read_text()) == ("one", "two")


def test_a_copy_that_fails_is_a_result(connected: Guest, tmp_path: Path) -> None:
    result = connected.copy([str(tmp_path / "absent")], str(tmp_path), to_guest=False)
    assert not result.ok
    assert "No such file" in result.last_line


def test_a_copy_without_a_guest(sshd: Sshd, guest: Guest, tmp_path: Path) -> None:
    sshd.stop()
    with pytest.raises(Unreachable, match="nothing listens"):
        guest.copy([str(tmp_path / "x")], str(tmp_path), to_guest=False)


def test_names_with_capitals_are_pinned_too(keys: BedKeys, tmp_path: Path) -> None:
    server = Sshd(tmp_path / "capital", keys, node="OSS1")
    server.start()
    keys.write(["OSS1"])
    try:
        guest = Guest(
            "ha", "OSS1", IPv4Address("127.0.0.1"), os.environ.get("USER", "root"), keys.folder, port=server.port
        )
        assert said(guest, "echo", "here") == "here\n"
    finally:
        server.stop()
