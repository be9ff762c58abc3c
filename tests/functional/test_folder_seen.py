"""Whether a folder is fit for disks that guests of several hosts share, tried by QEMU's own tool on one machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.runtime.wait import Deadline, until
from vmlab.virt.folder_seen import refuse_unshared
from vmlab.virt.machine import Machine

HERE = Machine()
ALONE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs other "$0"; exec "$@"')


@pytest.mark.parametrize("hosts", [("kvm1",), ("kvm1", "kvm2", "kvm3")])
def test_a_folder_of_this_machine_is_one(hosts: tuple[str, ...], tmp_path: Path) -> None:
    refuse_unshared(str(tmp_path), dict.fromkeys(hosts, HERE))
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_not_there_is_named_with_its_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"guests cannot share disks in .*/none: kvm1: there is no such folder") as said:
        refuse_unshared(f"{tmp_path}/none", {"kvm1": HERE, "kvm2": HERE})
    assert said.value.hint.startswith(f"findmnt -T {tmp_path}/none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_another_folder_of_that_name_is_none(tmp_path: Path) -> None:
    elsewhere = Machine("kvm2", (*ALONE, str(tmp_path), "sh", "-c"))
    with pytest.raises(HostError, match="kvm2: a file that another host made there is not there"):
        refuse_unshared(str(tmp_path), {"kvm1": HERE, "kvm2": elsewhere})
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_trial_stays_when_whoever_tries_is_killed(tmp_path: Path) -> None:
    told = (
        "import os, sys; from vmlab.virt import folder_seen; from vmlab.virt.machine import Machine; "
        "folder_seen._look = lambda *_: os.kill(os.getpid(), 9); "
        "folder_seen.refuse_unshared(sys.argv[1], {'kvm1': Machine(), 'kvm2': Machine()})"
    )
    done = subprocess.run((sys.executable, "-c", told, str(tmp_path)), check=False)
    assert done.returncode == -signal.SIGKILL
    assert until(lambda: not list(tmp_path.iterdir()), Deadline.after(30))
