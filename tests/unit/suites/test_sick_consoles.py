"""Consoles of sick kernels, from public reports, and of sound ones that have all the words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.suites.consoles import Console, Event, Kind, read_console

CASES = Path(__file__).parents[2] / "cases" / "consoles"


def case(name: str, node: str) -> Console:
    return read_console((CASES / name / f"console.{node}.log").read_bytes().decode(errors="replace"))


def only(text: str) -> Event:
    (event,) = read_console(text).events
    return event


def test_an_assertion_an_lbug_and_a_panic_are_one_event() -> None:
    console = case("n09-console-lbug-interleaved", "n13")
    (event,) = console.events
    assert (event.kind, event.dead, event.stuck, console.dead) == (Kind.LBUG, True, False, True)
    assert event.line == "LustreError: 1246375:0:(dcache.c:136:ll_ddelete()) ASSERTION( d_count(de) == 1 ) failed:"
    assert (event.at, event.process, event.pid) == (75439.499097, "su", 1246375)
    assert event.place == "dcache.c:136 ll_ddelete"
    assert event.panic == "Kernel panic - not syncing: LBUG"
    assert event.test == ("sanity", "test_26a")  # its title had begun
    assert any("operation ldlm_enqueue" in line for line in event.lines)
    assert any("lbug_with_loc" in line for line in event.lines)
    assert not any("\r" in line or "\x1b" in line for line in event.lines)


def test_an_lbug_without_a_panic_leaves_the_guest_alive() -> None:
    console = case("n09-console-lbug-interleaved", "n15")
    (event,) = console.events
    assert event.line == (
        "LustreError: 1474:0:(lcommon_cl.c:147:cl_file_inode_init()) "
        "ASSERTION( (((inode->i_mode) & 00170000) == 0100000) ) failed:"
    )
    assert (event.kind, event.at, event.pid, event.process) == (Kind.LBUG, 9120.771201, 1474, "")
    assert event.place == "lcommon_cl.c:147 cl_file_inode_init"
    assert (event.dead, event.stuck, console.dead) == (False, True, False)
    assert event.test == ("sanity", "test_31o")


def test_words_alone_are_nothing() -> None:
    assert case("n11-console-nothing-to-name", "n11") == Console((), boots=0, dead=False)


def test_the_hung_task_after_a_panic_of_zfs_is_a_symptom() -> None:
    console = case("n15-console-zfs-panic-then-hung-task", "n11")
    zfs, hung = console.events
    assert (zfs.kind, zfs.line) == (Kind.ZFS, "VERIFY3(sa.sa_magic == 0x2F505A) failed (24 == 3100762)")
    assert (zfs.at, zfs.process, zfs.pid) == (6004.896506, "mdt01_006", 130238)
    assert zfs.place == "zfs_vfsops.c:583 zfs_space_delta_cb"
    assert (zfs.dead, zfs.stuck, zfs.symptom, zfs.test) == (False, True, False, ("sanity-benchmark", "test_dbench"))
    assert (hung.kind, hung.line) == (Kind.HUNG, "INFO: task txg_quiesce:32802 blocked for more than 120 seconds.")
    assert (hung.process, hung.pid, hung.symptom) == ("txg_quiesce", 32802, True)
    assert not console.dead


@pytest.mark.parametrize(
    ("text", "kind", "process", "pid"),
    [
        ("[   77.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:17]", Kind.SOFT, "dd", 17),
        (
            "[   77.000001] NMI watchdog: BUG: soft lockup - CPU#1 stuck for 23s! [kworker/1:1:41]",
            Kind.SOFT,
            "kworker/1:1",
            41,
        ),
        (
            "[   77.000001] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
            Kind.SOFT,
            "",
            None,
        ),
        ("[   77.000001] NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", Kind.HARD, "", None),
        ("[   77.000001] watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", Kind.HARD, "", None),
        (
            "[   77.000001] INFO: task ll_ost_io00_003:2950 blocked for more than 122 seconds.",
            Kind.HUNG,
            "ll_ost_io00_003",
            2950,
        ),
        (
            "[   77.000001] INFO: task jbd2/vda-8:7 blocked in I/O wait for more than 122 seconds.",
            Kind.HUNG,
            "jbd2/vda-8",
            7,
        ),
        ("[   77.000001] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Kind.STALL, "", None),
        ("[   77.000001] rcu: INFO: rcu_preempt self-detected stall on CPU", Kind.STALL, "", None),
        ("[   77.000001] INFO: rcu_sched self-detected stall on CPU { 1}  (t=60001 jiffies)", Kind.STALL, "", None),
        (
            "[   77.000001] rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... }",
            Kind.STALL,
            "",
            None,
        ),
        (
            (
                "[   77.000001] dd invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0\n"
                "[   77.100001] Out of memory: Killed process 812 (writer), UID 0, total-vm:1kB"
            ),
            Kind.OOM,
            "writer",
            812,
        ),
        (
            (
                "[   77.000001] BUG: KASAN: slab-use-after-free in ldlm_lock_put+0x1/0x2 [ptlrpc]\n"
                "[   77.000002] Read of size 8 at addr ffff8881 by task ldlm_bl_01/4711"
            ),
            Kind.KASAN,
            "ldlm_bl_01",
            4711,
        ),
        ("[   77.000001] UBSAN: array-index-out-of-bounds in lmv_obd.c:11:2", Kind.UBSAN, "", None),
        (
            (
                "[   77.000001] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
                "[   77.000002] #PF: supervisor read access in kernel mode\n"
                "[   77.000003] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI\n"
                "[   77.000004] CPU: 0 UID: 0 PID: 2137 Comm: ll_ost00_001 Not tainted 6.12.117 #1"
            ),
            Kind.OOPS,
            "ll_ost00_001",
            2137,
        ),
        (
            "[   77.000001] kernel BUG at fs/jbd2/transaction.c:1!\n[   77.000002] invalid opcode: 0000 [#1] SMP",
            Kind.OOPS,
            "",
            None,
        ),
        ("[   77.000001] Internal error: Oops: 0000000096000004 [#1] SMP", Kind.OOPS, "", None),
        ("<0>[   77.000001][  T123] Kernel panic - not syncing: Attempted to kill init!", Kind.PANIC, "", None),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs", Kind.PANIC, "", None),
        ("[   77.000001] LustreError: 9:0:(a.c:1:f()) LBUG", Kind.LBUG, "", 9),
        ("[   77.000001] LNetError: 9:0:(a.c:1:f()) ASSERTION( 0 ) failed: why", Kind.LBUG, "", 9),
        ("Nov 29 00:00:01 oss1 kernel: [   77.000001] UBSAN: shift-out-of-bounds in a.c:1:2", Kind.UBSAN, "", None),
    ],
)
def test_each_kind_is_one_event(text: str, kind: Kind, process: str, pid: int | None) -> None:
    event = only(f"[    0.000000] Linux version 6.12\n{text}\n[  200.000001] Lustre: fine\n")
    assert (event.kind, event.process, event.pid, event.symptom) == (kind, process, pid, False)
    assert event.dead == (kind is Kind.PANIC)


@pytest.mark.parametrize(
    ("first", "panic"),
    [
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:17]", "softlockup: hung tasks"),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", "Hard LOCKUP"),
        ("INFO: task x:1 blocked for more than 120 seconds.", "hung_task: blocked tasks"),
        ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU Stall"),
        ("BUG: KASAN: slab-out-of-bounds in f+0x1/0x2", "KASAN: panic_on_warn set ..."),
        ("Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI", "Fatal exception in interrupt"),
        ("LustreError: 9:0:(a.c:1:f()) LBUG", "LBUG"),
    ],
)
def test_a_panic_that_comes_of_something_belongs_to_it(first: str, panic: str) -> None:
    event = only(
        f"[   77.000001] {first}\n[   77.9] Call Trace:\n[   99.000002] Kernel panic - not syncing: {panic}\n"
        f"[   99.100002] ---[ end Kernel panic - not syncing: {panic} ]---\n"
    )
    assert (event.line, event.dead) == (first, True)


def test_a_panic_of_something_else_is_its_own() -> None:
    text = (
        "[   77.000001] INFO: task x:1 blocked for more than 120 seconds.\n"
        "[  500.000001] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    )
    assert [event.kind for event in read_console(text).events] == [Kind.HUNG, Kind.PANIC]


def test_after_a_panic_tasks_hang_and_after_a_reboot_they_hang_by_themselves() -> None:
    text = (
        "[    0.000000] Linux version 6.12\n"
        "[   50.000001] Kernel panic - not syncing: Fatal\n"
        "[   51.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [dd:1]\n"
        "[    0.000000] Linux version 6.12\n"
        "[  150.000001] INFO: task x:1 blocked for more than 120 seconds.\n"
    )
    console = read_console(text)
    assert [(e.kind, e.symptom, e.boot) for e in console.events] == [
        (Kind.PANIC, False, 0),
        (Kind.SOFT, True, 0),
        (Kind.HUNG, False, 1),
    ]
    assert (console.boots, console.dead) == (2, False)
    assert read_console(text.rpartition("[    0.000000]")[0]).dead


def test_who_goes_on_waiting_is_one_event() -> None:
    line = "INFO: task x:1 blocked for more than {} seconds."
    text = f"[  150.000001] {line.format(120)}\n[  270.000001] {line.format(241)}\n"
    event = only(text + f"[  270.000001] {line.format(241)}\n")
    assert (event.line, event.times) == (line.format(120), 3)
    other = "[  270.000002] INFO: task y:2 blocked for more than 120 seconds.\n"
    assert [(each.pid, each.times) for each in read_console(text + other).events] == [(1, 2), (2, 1)]


def test_a_stall_goes_on() -> None:
    event = only(
        "[   60.000001] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"
        "[   60.100001] rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x0\n"
        "[  240.000001] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"
    )
    assert (event.kind, event.times) == (Kind.STALL, 3)


def test_a_kernel_that_says_little_begins_anew_by_its_clock() -> None:
    text = (
        "[  500.000001] Kernel panic - not syncing: Fatal\n"
        "[    1.000001] systemd[1]: Started\n"
        "[  150.000001] INFO: task x:1 blocked for more than 120 seconds.\n"
    )
    console = read_console(text)
    assert [(each.kind, each.symptom) for each in console.events] == [(Kind.PANIC, False), (Kind.HUNG, False)]
    assert not console.dead


def test_two_threads_in_each_others_lines() -> None:
    text = (
        "[   10.000001] LustreError: 1:0:(a.c:1:f()) ASSERTION( x ) failed: \n"
        "[   10.000002] LustreError: 2:0:(b.c:2:g()) ASSERTION( y ) failed: \n"
        "[   10.000003] LustreError: 1:0:(a.c:1:f()) LBUG\n"
        "[   10.000004] LustreError: 2:0:(b.c:2:g()) LBUG\n"
        "[   10.000005] Pid: 2, comm: two 5.14.0 #1\n"
        "[   10.000006] Pid: 1, comm: one 5.14.0 #1\n"
    )
    assert [(event.pid, event.place) for event in read_console(text).events] == [(1, "a.c:1 f"), (2, "b.c:2 g")]


def test_a_crash_on_purpose_is_said_to_be_one() -> None:
    event = only(
        "[   10.000001] sysrq: Trigger a crash\n[   10.000002] Kernel panic - not syncing: sysrq triggered crash\n"
    )
    assert (event.kind, event.asked) == (Kind.PANIC, True)


def test_the_end_of_a_subtest_is_the_end_of_its_blame() -> None:
    begin = "[    9.000001] Lustre: DEBUG MARKER: == sanity test 1: one == 00:00:00 (1)\n"
    end = "[    9.500001] Lustre: DEBUG MARKER: == sanity test complete, duration 9 sec == 00:00:09 (10)\n"
    clean = "[    9.600001] Lustre: DEBUG MARKER: === sanity: start cleanup 00:00:09 (10) ===\n"
    bug = "[   10.000001] LustreError: 9:0:(a.c:1:f()) LBUG\n"
    assert only(begin + bug).test == ("sanity", "test_1")
    assert only(begin + end + bug).test is None
    assert only(begin + end + clean + bug).test == ("sanity", "test_cleanup")


def test_noise_of_a_serial_line() -> None:
    text = "\0\0\x1b[0m[   10.000001] \x1b[1;31mLustreError: 9:0:(a.c:1:f()) LBUG\x1b[0m\r\r\n\ufffd\ufffd\x07"
    assert only(text).line == "LustreError: 9:0:(a.c:1:f()) LBUG"


HARMLESS = [
    "[    0.000000] Command line: panic=10 softlockup_panic=1 oops=panic",
    "[    1.000000] systemd[1]: Started panic-report.service - Kernel panic - not syncing, explained.",
    "[    1.000000] UBSAN: Undefined behaviour sanity checks are enabled",
    "[    1.000000] rcu: Hierarchical RCU implementation.",
    "[    1.000000] RAS: Correctable Errors collector initialized [#1]",
    "[    1.000000] Lustre: DEBUG MARKER: sanity test_1: @@@@@@ FAIL: Kernel panic - not syncing: LBUG",
    "[    1.000000] LustreError: 11-0: lustre-OST0000: operation ost_connect failed: rc = -16",
    "[    1.000000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 y+0x1/0x2",
    "grep: kernel BUG at, LBUG, Kernel panic - not syncing",
    "echo 'LustreError: ASSERTION( x ) failed'",
    "[    1.000000] LNet: Service thread pid 1 was inactive for 200.35s. Dumping the stack trace",
]


@pytest.mark.parametrize("line", HARMLESS)
def test_words_in_other_places_are_nothing(line: str) -> None:
    assert read_console(line + "\n").events == ()


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    read_console(text)


@given(st.integers(0, 3000), st.sampled_from(["n13", "n15"]))
def test_a_console_that_is_cut_never_has_more(length: int, node: str) -> None:
    text = (CASES / "n09-console-lbug-interleaved" / f"console.{node}.log").read_text()
    assert len(read_console(text[:length]).events) <= 1
