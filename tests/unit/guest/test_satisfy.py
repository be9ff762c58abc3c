"""Against a real sshd. The runner sets a search path of its own, so that commands are the host's."""

import importlib
import os
import time
from pathlib import Path

import pytest
from sshd import Sshd

from vmlab.errors import GuestError
from vmlab.guest import satisfy as satisfying
from vmlab.guest.satisfy import Outcome, satisfy
from vmlab.guest.ssh import Guest
from vmlab.runtime.log import log
from vmlab.runtime.process import Result
from vmlab.runtime.wait import Deadline
from vmlab.steps import Step
from vmlab.values.complaint import complaint

module = importlib.import_module("vmlab.guest.satisfy")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="steps run as root, and another login needs sudo")

HOSTILE = "a b'\"$HOME`id`\n;*\\é"


def soon() -> Deadline:
    return Deadline.after(20)


def made(path: Path, content: str = "x") -> Step:
    """The file has this content."""
    check = ("sh", "-c", '[ "$(cat "$1")" = "$2" ]', "vmlab", str(path), content)
    write = ("sh", "-c", 'printf %s "$2" >"$1"; echo $$ >>"$1.count"', "vmlab", str(path), content)
    return Step(f"make {path.name}", check, (write,))


def test_steps_are_applied_where_needed(guest: Guest, tmp_path: Path) -> None:
    steps = [made(tmp_path / "one"), made(tmp_path / HOSTILE.replace("/", ""), HOSTILE), made(tmp_path / "two")]
    (tmp_path / "two").write_text("x")
    heard: list[str] = []
    outcomes = satisfy(guest, steps, on_step=heard.append, deadline=soon())
    assert [outcome.did for outcome in outcomes] == ["applied", "applied", "ok"]
    assert [outcome.step for outcome in outcomes] == heard == [step.name for step in steps]
    assert {outcome.did for outcome in satisfy(guest, steps, deadline=soon())} == {"ok"}
    assert len((tmp_path / "one.count").read_text().splitlines()) == 1


def at_once(path: Path, content: str = "x") -> Step:
    """As `made`, with a check that takes no process: it says who ran it."""
    check = ("sh", "-c", 'echo $$ >>"$1.checked"; [ -e "$1" ] || exit 3; read -r is <"$1"; [ "$is" = "$2" ]')
    write = ("sh", "-c", 'printf "%s\\n" "$2" >"$1"', "vmlab", str(path), content)
    return Step(f"make {path.name}", (*check, "vmlab", str(path), content), (write,), at_once=True)


def test_a_check_at_once_is_evaluated_by_the_shell_that_runs_the_steps(guest: Guest, tmp_path: Path) -> None:
    steps = [at_once(tmp_path / "one", HOSTILE.replace("\n", "")), at_once(tmp_path / "two"), made(tmp_path / "three")]
    (tmp_path / "two").write_text("x\n")
    assert [outcome.did for outcome in satisfy(guest, steps, deadline=soon())] == ["applied", "ok", "applied"]
    shells = [(tmp_path / f"{name}.checked").read_text().split() for name in ("one", "two")]
    assert len(shells[0]) == 2
    assert len(shells[1]) == 1
    assert len({shell for shell_of in shells for shell in shell_of}) == 1


def test_what_a_check_at_once_says_is_told_when_it_does_not_hold_at_last(guest: Guest) -> None:
    step = Step("vain", ("sh", "-c", "echo no $1 >&2; exit 4", "vmlab", "luck"), (("true",),), at_once=True)
    with pytest.raises(GuestError, match=r"ended with status 4 after the step was applied: no luck$"):
        satisfy(guest, [step], deadline=soon())


def test_all_steps_take_one_round_trip(guest: Guest, sshd: Sshd, tmp_path: Path) -> None:
    satisfy(guest, [made(tmp_path / str(number)) for number in range(20)], deadline=soon())
    assert (sshd.folder / "log").read_text().count("Accepted publickey") == 1


def test_no_steps_no_round_trip(guest: Guest, sshd: Sshd) -> None:
    sshd.stop()
    assert satisfy(guest, [], deadline=soon()) == ()


def test_a_command_that_fails(guest: Guest, tmp_path: Path) -> None:
    bad = Step("load it", ("false",), (("true",), ("sh", "-c", "echo one; echo 'no such module' >&2; exit 7")))
    with pytest.raises(GuestError) as caught:
        satisfy(guest, [made(tmp_path / "one"), bad, made(tmp_path / "never")], deadline=soon())
    error = caught.value
    assert error.message == (
        "oss1: step load it: `sh -c 'echo one; echo '\"'\"'no such module'\"'\"' >&2; exit 7'` ended with status 7:"
        " no such module"
    )
    assert (error.node, error.stage, error.console) == ("oss1", "roles", ("one", "no such module"))
    assert error.hint == "vmlab ssh ha oss1"
    assert (tmp_path / "one").exists()
    assert not (tmp_path / "never").exists()


def test_a_step_that_does_not_hold_after_it_was_applied(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"^oss1: step vain: `false` ended with status 1 after the step was applied$"):
        satisfy(guest, [Step("vain", ("false",), (("true",),))], deadline=soon())


def test_a_long_word_is_sent_once_and_arrives_as_it_is(guest: Guest, tmp_path: Path) -> None:
    text = "$HOME `id` 'quoted' \"twice\" \\ \n" * 3000
    is_there = ("sh", "-c", '[ "$(cat "$1"; echo .)" = "$2." ]', "vmlab", str(tmp_path / "text"), text)
    write = ("sh", "-c", 'printf %s "$2" >"$1"', "vmlab", str(tmp_path / "text"), text)
    step = Step("write", is_there, (write,))
    assert len(satisfying._program([step])) < 1.5 * len(text)
    assert [outcome.did for outcome in satisfy(guest, [step, step], deadline=soon())] == ["applied", "ok"]
    assert (tmp_path / "text").read_text() == text


def test_a_program_that_is_absent(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"`absent-program --now` ended with status 127: .*No such file"):
        satisfy(guest, [Step("absent", ("false",), (("absent-program", "--now"),))], deadline=soon())


def test_a_command_that_hangs(guest: Guest) -> None:
    began = time.monotonic()
    with pytest.raises(GuestError, match=r"step hang: `sleep 30` took over 0.5 s"):
        satisfy(guest, [Step("hang", ("false",), (("sleep", "30"),), deadline_s=0.5)], deadline=soon())
    assert time.monotonic() - began < 4


def test_the_overall_deadline(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"^oss1: step hang: not done at its deadline$"):
        satisfy(guest, [Step("hang", ("false",), (("sleep", "30"),))], deadline=Deadline.after(4))


@pytest.fixture
def kernel_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `dmesg` of the guest will print."""
    log = tmp_path / "kernel.log"
    log.touch()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "dmesg").write_text(f"#!/bin/sh\ncat '{log}'\n")
    (programs / "dmesg").chmod(0o755)
    monkeypatch.setattr(module, "_RUNNER", module._RUNNER.replace("PATH=", f"PATH={programs}:", 1))
    return log


KILLED = ("sh", "-c", "kill -KILL $$")
OOM = "[{at:12.6f}] Out of memory: Killed process 4711 (mkfs.lustre) total-vm:1kB, anon-rss:1kB"


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([OOM.format(at=uptime() + 3600)], "was killed, because the guest ran out of memory: its kernel killed mkfs"),
        (["Out of memory: Kill process 4711 (mkfs.lustre) score 9"], "was killed, because the guest ran out of memory"),
        ([OOM.format(at=0.5)], "was killed"),
        (["[ 1.0] something else"], "was killed"),
        ([], "was killed"),
    ],
)
def test_whoever_is_killed_was_not_too_late(guest: Guest, kernel_log: Path, lines: list[str], cause: str) -> None:
    kernel_log.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(GuestError) as caught:
        satisfy(guest, [Step("format", ("false",), (KILLED,))], deadline=soon())
    told = caught.value.message
    assert told.startswith(f"oss1: step format: `sh -c 'kill -KILL $$'` {cause}")
    assert ("its kernel killed mkfs.lustre" in told) == ("memory" in cause)


def test_whoever_has_to_be_killed_at_the_deadline_was_too_late(guest: Guest) -> None:
    deaf = ("sh", "-c", "trap '' TERM; sleep 30")
    with pytest.raises(GuestError, match=r"took over 1 s"):
        satisfy(guest, [Step("deaf", ("false",), (deaf,), deadline_s=1)], deadline=soon())


def test_a_program_that_says_itself_that_it_was_late(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"ended with status 124: it gave up"):
        satisfy(guest, [Step("x", ("false",), (("sh", "-c", "echo it gave up; exit 124"),))], deadline=soon())


class Pace:
    """A slow machine whose guest gets on, or not."""

    slow = True

    def __init__(self, *, gets_on: bool) -> None:
        self.gets_on = gets_on
        self.why = "" if gets_on else "nothing advances since 60 s"

    def __call__(self) -> bool:
        return self.gets_on


def test_on_a_slow_machine_a_step_that_gets_on_may_take_longer(guest: Guest, tmp_path: Path) -> None:
    slow = Step("slow", ("test", "-e", str(tmp_path / "x")), (("sh", "-c", f"sleep 3; : >{tmp_path}/x"),), deadline_s=1)
    outcomes = satisfy(guest, [slow], deadline=soon(), advances=Pace(gets_on=True))  # type: ignore[arg-type]
    assert outcomes == (Outcome("slow", "applied"),)


def test_on_a_slow_machine_a_step_that_does_not_is_given_up(guest: Guest) -> None:
    began = time.monotonic()
    with pytest.raises(GuestError, match=r"^oss1: step hang: not done after 1 s; nothing advances since 60 s$"):
        satisfy(
            guest,
            [Step("hang", ("false",), (("sleep", "30"),), deadline_s=1)],
            deadline=soon(),
            advances=Pace(gets_on=False),  # type: ignore[arg-type]
        )
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (143, "broken off with status 143: Terminated"),
        (137, "broken off: the shell that ran it was killed: Terminated"),
        (124, "not done at its deadline: Terminated"),
    ],
)
def test_a_program_that_is_broken_off_never_tells_our_own_words(guest: Guest, status: int, cause: str) -> None:
    """`broken off: vmlab: check 3` told nobody anything."""
    steps = [Step("first", ("true",), ()), Step("second", ("true",), ())]
    progress = module._Progress(guest, steps, lambda _: None, lambda _: None, 1)
    for line in ("vmlab: check 0", "vmlab: ok 0", "vmlab: check 1"):
        progress.hear(line)
    error = progress.failure(Result((), status, "vmlab: check 0\nvmlab: ok 0\nvmlab: check 1\n", "Terminated\n"))
    assert error.message == f"oss1: step second: {cause}"
    assert "vmlab" not in progress.failure(Result((), status, "vmlab: check 1\n", "")).message


def test_a_daemon_that_keeps_its_output_open_is_not_waited_for(guest: Guest, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    start = ("sh", "-c", 'sleep 30 & echo $! >"$1"', "vmlab", str(pid))
    began = time.monotonic()
    assert satisfy(guest, [Step("daemon", ("test", "-s", str(pid)), (start,))], deadline=soon())[0].did == "applied"
    assert time.monotonic() - began < 5
    os.kill(int(pid.read_text()), 9)


def test_a_step_that_reads_does_not_eat_the_rest(guest: Guest, tmp_path: Path) -> None:
    outcomes = satisfy(guest, [Step("read", ("cat",), ()), made(tmp_path / "one")], deadline=soon())
    assert outcomes == (Outcome("read", "ok"), Outcome("make one", "applied"))


def test_output_cannot_forge_progress(guest: Guest) -> None:
    forging = ("sh", "-c", "echo 'vmlab: applied 0'; exit 1")
    with pytest.raises(GuestError, match="ended with status 1: vmlab: applied 0"):
        satisfy(guest, [Step("forge", ("false",), (forging,))], deadline=soon())


def test_a_watch_ends_it(guest: Guest) -> None:
    def watch() -> None:
        raise GuestError("dead", node="oss1", stage="roles")

    with pytest.raises(GuestError, match="dead"):
        satisfy(guest, [Step("hang", ("sleep", "30"), ())], deadline=soon(), watch=watch)


def test_nothing_is_left_in_the_guest(guest: Guest, sshd: Sshd) -> None:
    """Not even by a runner that is killed."""
    here = sshd.folder / "tmp"
    tell = Step("tell", ("sh", "-c", '[ "$TMPDIR" = "$1" ]', "vmlab", str(here)), ())
    with pytest.raises(GuestError):
        satisfy(guest, [tell, Step("kill", ("sh", "-c", 'kill -9 "$(ps -o ppid= "$PPID")"'), ())], deadline=soon())
    assert not list(here.iterdir())


def test_another_login_goes_by_sudo(
    guest: Guest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level("DEBUG", log.name)
    login = Guest("ha", "oss1", guest.address, "rocky", guest.keys_folder, port=guest.port)
    with pytest.raises(GuestError, match="does not let rocky in"):
        satisfy(login, [Step("x", ("true",), ())], deadline=soon())
    assert "rocky@127.0.0.1 '{ sudo -n -- timeout " in caplog.text


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (("odd: no such thing", "odd: exiting with 22 (Invalid argument)"), "odd: no such thing"),
        (("---------", "No interfaces were found.", "---------"), "No interfaces were found."),
        (
            ("Persistent mount opts: errors=remount-ro", "odd FATAL: ", "cannot do it", "Check the syslog."),
            "cannot do it",
        ),
        (("unable to go on", "[  12.3] LustreError: 15f-b: of an hour ago"), "unable to go on"),
        (("[  12.3] LustreError: nothing else is said",), "[  12.3] LustreError: nothing else is said"),
        (("one", "two"), "two"),
        (("====", "----"), "----"),
        ((), ""),
    ],
)
def test_why_a_command_failed_is_its_first_complaint(said: tuple[str, ...], cause: str) -> None:
    assert complaint(said) == cause
