"""A command that is talked with: what it says, what it is told, and its end with ours."""

import subprocess
import sys
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.runtime.talk import Talk
from vmlab.runtime.wait import Deadline, until


def test_it_is_told_and_says() -> None:
    with Talk(("sh", "-c", "while read -r word; do echo got $word; done; echo over; echo why >&2")) as talk:
        assert talk.tell(b"one\ntwo\n")
        assert [talk.line(Deadline.after(60)) for _ in range(2)] == ["got one", "got two"]
        assert talk.line(Deadline.after(0)) is None
        talk.told_all()
        assert talk.line(Deadline.after(60)) == "over"
        assert talk.line(Deadline.after(60)) is None
        assert talk.complaint == "why"


def test_who_ends_hears_no_more_and_who_is_not_there_is_named() -> None:
    talk = Talk(("sh", "-c", "exit 3"))
    assert talk.line(Deadline.after(60)) is None
    assert until(lambda: not talk.tell(b"x" * 1000), Deadline.after(60))
    assert talk.end() == 3
    with pytest.raises(HostError, match="`no-such-program` is not installed"):
        Talk(("no-such-program",))


def test_it_hears_of_our_end_by_sigkill(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    begin = f"import os; from vmlab.runtime.talk import Talk; Talk(('sh', '-c', 'cat; : > {gone}'))"
    code = f"{begin}; os.kill(os.getpid(), 9)"
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == -9
    assert until(gone.exists, Deadline.after(60))
