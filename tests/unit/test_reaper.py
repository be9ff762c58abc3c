"""What scripts/ needs beside what is tested by its use."""

import subprocess
import sys
import time
from pathlib import Path

REAPER = Path(__file__).parents[2] / "scripts" / "reaper.py"


def test_orphans_are_reaped_at_once_and_the_reaper_ends_with_the_last() -> None:
    """The daemon is an orphan itself, after `-d`, and its children become orphans when it ends."""
    daemon = "(sleep 0.3 & echo $!; exec sleep 0.5) & echo $!; exit 7"
    begin = time.monotonic()
    ran = subprocess.run((sys.executable, REAPER, "sh", "-c", daemon), stdout=subprocess.PIPE, text=True, check=True)
    assert time.monotonic() - begin >= 0.5
    pids = ran.stdout.split()
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
