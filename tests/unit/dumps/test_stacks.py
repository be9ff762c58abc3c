"""What crash says of a dump's threads; the idle guest is crash 8.0.6's own words, shortened, the others as they are."""

import pytest

from vmlab.dumps.stacks import summary

SYS = """\
      KERNEL: vmlinux-6.12.117+deb13-amd64
    DUMPFILE: mem.elf
       PANIC: "Kernel panic - not syncing: NMI: Not continuing"
"""
PANICKED = """\
PID: 251      TASK: ffff8aab84c3a100  CPU: 0    COMMAND: "systemd-journal"
 #0 [fffffe4bd7359e30] panic at ffffffffb60be63c
 #1 [fffffe4bd7359eb8] unknown_nmi_error at ffffffffb5445c87
    [exception RIP: refill_stock+37]
    RIP: ffffffffb5816a65  RSP: ffffd12300703a18  RFLAGS: 00000202
--- <NMI exception stack> ---
 #4 [ffffd12300703a18] refill_stock at ffffffffb5816a65
"""


def thread(pid: int, command: str, *frames: str) -> str:
    lines = [f" #{number} [ffffc90000013e00] {frame}" for number, frame in enumerate(frames)]
    head = f'PID: {pid:<8} TASK: ffff888001aa8000  CPU: 0    COMMAND: "{command}"'
    return "\n".join([head, *lines, ""])


IDLE = ("__schedule at ffffffff81d0b1a5", "worker_thread at ffffffff8110fd6f")
IN_LUSTRE = ("schedule at ffffffff81d0b1a5", "osp_sync_thread at ffffffffc0a31234 [osp]")


def test_who_panicked_comes_first_then_lustre_then_the_most() -> None:
    said = SYS + PANICKED + PANICKED
    said += "".join(thread(10 + n, f"kworker/{n}", *IDLE) for n in range(10))
    said += thread(400, "osp-syn-0-0", *IN_LUSTRE) + thread(401, "bash")
    told = summary(said)
    assert told.startswith(f"panic: Kernel panic - not syncing: NMI: Not continuing\n\n{PANICKED}\n")
    assert [line for line in told.splitlines() if "thread" in line and ":" in line and "(" in line] == [
        "1 thread: osp-syn-0-0 (400)",
        f"10 threads: {', '.join(f'kworker/{n} ({10 + n})' for n in range(8))} and 2 more",
        "1 thread: systemd-journal (251)",
        "1 thread: bash (401)",
    ]
    assert "    osp_sync_thread [osp]\n" in told
    assert "1 thread: bash (401)\n    it has no stack, or runs in user space\n" in told


def test_a_guest_that_did_not_panic() -> None:
    told = summary('       PANIC: ""\n' + thread(0, "swapper/0", "default_idle at ffffffff81d117d9"))
    assert told.startswith("panic: none\n\nPID: 0 ")


@pytest.mark.parametrize("said", ["", "crash: vmlinux and mem.elf do not match!\n", SYS])
def test_what_crash_did_not_understand_is_told(said: str) -> None:
    with pytest.raises(ValueError, match="no thread"):
        summary(said)
