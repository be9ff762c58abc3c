import pytest

from vmlab.guest.console import (
    booted,
    complaints,
    death,
    fatal,
    identity_seen,
    kernel_seen,
    last_lines,
    panicked_early,
    plain,
)

FIRMWARE = "\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HSeaBIOS (version 1.16.2)\r\n\r\nBooting from Hard Disk...\r\n"
KERNEL = (
    "[    0.000000] Linux version 6.12.107+deb13-amd64 (gcc) #1 SMP\r\n[    0.000000] Command line: root=/dev/vda\r\n"
)
PANIC = (
    "[    3.217842] VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
    "[    3.219011] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
    "[    3.220034] CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted\r\n"
)


@pytest.mark.parametrize(
    "text",
    [
        KERNEL,
        FIRMWARE + "[    0.000000] Command line: x\n",
        "\r\nWelcome to \x1b[1mDebian GNU/Linux 13 (trixie)\x1b[0m!\r\n",
        "Rocky Linux 9.4\r\n\r\noss1 login: ",
        "Loading, please wait...\r\n",
        "[   12.5] x\n[   41.316482] cloud-init[512]: Cloud-init v. 25.1.4\n",
    ],
)
def test_a_kernel_is_seen(text: str) -> None:
    assert kernel_seen(text)
    assert death(text) is None


@pytest.mark.parametrize("text", ["", FIRMWARE, "GRUB loading.\r\nWelcome to GRUB!\r\n"])
def test_no_kernel_is_seen(text: str) -> None:
    assert not kernel_seen(text.replace("Welcome to GRUB!", "GRUB"))
    assert death(text) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (KERNEL + PANIC, PANIC.split("\r\n")[1]),
        (FIRMWARE + "Boot failed: not a bootable disk\r\n\r\n", "Boot failed: not a bootable disk"),
        ("BdsDxe: failed\r\nNo bootable device.\r\n", "No bootable device."),
        (
            "error: no such device: 5f2b7a52.\r\nEntering rescue mode...\r\ngrub rescue> ",
            "error: no such device: 5f2b7a52.",
        ),
        ("Minimal BASH-like line editing\r\n\r\ngrub> ", "grub>"),
        (
            KERNEL + "Gave up waiting for root file system device.  Common problems:\r\n(initramfs) ",
            "Gave up waiting for root file system device.  Common problems:",
        ),
        (KERNEL + "\r\n\r\n(initramfs) ", "(initramfs)"),
        (
            KERNEL + 'Generating "/run/initramfs/rdsosreport.txt"\r\n\r\nEntering emergency mode. Exit the shell',
            'Generating "/run/initramfs/rdsosreport.txt"',
        ),
        (
            KERNEL + "\x1b[0;1;31mYou are in emergency mode\x1b[0m. After logging in\r\n",
            "You are in emergency mode. After logging in",
        ),
        (
            KERNEL + "Give root password for maintenance\r\n(or press Control-D to continue): ",
            "Give root password for maintenance",
        ),
    ],
)
def test_a_dead_guest(text: str, line: str) -> None:
    assert death(text) == line


def test_an_earlier_boots_end_is_past() -> None:
    assert death(KERNEL + PANIC + FIRMWARE + KERNEL) is None
    assert death(KERNEL + PANIC + FIRMWARE + KERNEL + PANIC) is not None


@pytest.mark.parametrize(
    "text",
    [
        "[    0.2] Kernel command line: panic=1 root=/dev/vda",
        "[FAILED] Failed to mount \x1b[0;1;39mmnt-scratch.mount\x1b[0m - /mnt/scratch.\r\n",
        "[    1.1] systemd[1]: Reached target emergency.target - off\r\n",
        "audit: a text that has (initramfs) inside\r\n",
    ],
)
def test_what_only_looks_like_death(text: str) -> None:
    assert death(KERNEL + text) is None


def test_escapes_go() -> None:
    text = "\x1b]0;title\x07a\x1b[1;31mb\x1b[0m\x1b(Bc\x00\x1b[?25l\r\nd\x1bPq#0\x1b\\e"
    assert plain(text) == "abc\nde"


def test_last_lines() -> None:
    text = "".join(f"line {number}\r\n \r\n" for number in range(30))
    assert last_lines(text) == tuple(f"line {number}" for number in range(10, 30))
    assert last_lines("") == ()


LOGIN = "\r\n\r\nDebian GNU/Linux 12 localhost ttyS0\r\n\r\nlocalhost login: "


def test_a_guest_that_asks_for_a_login_has_booted() -> None:
    assert booted(KERNEL + LOGIN)
    assert not booted(KERNEL + "[  OK  ] Reached target getty.target - Login Prompts.\r\n")


def test_cloud_init_names_its_version() -> None:
    line = "[   67.762967] cloud-init[325]: Cloud-init v. 22.4.2 running 'init-local' at Sat, 21 Nov 2026."
    assert identity_seen(KERNEL + line)
    assert not identity_seen(KERNEL + "[    0.1] Command line: cloud-init=disabled\r\n" + LOGIN)


def test_of_an_animation_the_last_picture_is_shown() -> None:
    pictures = (
        "[\x1b[0;31m*     \x1b[0m] Job systemd-networkd-wait…start running (1min 9s / no limit)\r\n"
        "\x1bM\r\x1b[K[\x1b[0;31m**    \x1b[0m] Job systemd-networkd-wait…start running (1min 9s / no limit)\r\n"
        "\x1bM\r\x1b[K[ \x1b[0;31m***  \x1b[0m] Job systemd-networkd-wait…tart running (1min 10s / no limit)\r\n"
    )
    assert last_lines("before\r\n" + pictures + "after\r\n") == (
        "before",
        "[ ***  ] Job systemd-networkd-wait…tart running (1min 10s / no limit)",
        "after",
    )


OOPS = (
    "[  412.118000] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
    "[  412.118202] #PF: supervisor read access in kernel mode\r\n"
    "[  412.119541] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI\r\n"
    "[  412.120000] CPU: 0 UID: 0 PID: 2137 Comm: ll_ost00_001\r\n"
)
LBUG = (
    "[  99.1] LustreError: 2137:0:(ldlm_lock.c:213:ldlm_lock_put()) ASSERTION( lock->l_refc > 0 ) failed: \r\n"
    "[  99.1] LustreError: 2137:0:(ldlm_lock.c:213:ldlm_lock_put()) LBUG\r\n"
    "[  99.2] Pid: 2137, comm: ldlm_cn00_001 5.14.0\r\n"
)


@pytest.mark.parametrize(
    ("text", "count", "deadly"),
    [
        (OOPS, 1, False),
        (OOPS + "[  412.2] Kernel panic - not syncing: Fatal exception in interrupt\n", 2, True),
        (LBUG, 1, True),
        ("[  99.1] Lustre: DEBUG MARKER: == replay-single test 43: don't LBUG == 00:00:00 (1)\n", 0, False),
        ("[  99.1] Lustre: DEBUG MARKER: s test_1: @@@@@@ FAIL: Kernel panic - not syncing: LBUG\n", 0, False),
        ("[    5.1] Kernel panic - not syncing: LBUG in interrupt.\n", 1, True),
        ("[ 5.1] Kernel panic - not syncing: x\n[ 5.2] ---[ end Kernel panic - not syncing: x ]---\n", 1, True),
        ("[   77.0] invalid opcode: 0000 [#2] SMP PTI\n", 1, False),
        ("[   77.0] general protection fault, probably for non-canonical address 0x5a5a: 0000 [#1]\n", 1, False),
        ("[   77.0] Internal error: Oops: 0000000096000004 [#1] SMP\n", 1, False),
        ("[   77.0] kernel BUG at fs/jbd2/transaction.c:1!\n", 1, False),
        ("[   77.0] PANIC at dbuf.c:1234:dbuf_dirty()\n", 1, True),
        ("[   77.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [dd:1]\n", 0, False),
        ("[   77.0] INFO: task ll_ost:1 blocked for more than 120 seconds.\n", 0, False),
        ("[   77.0] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 y+0x1/0x2\n", 0, False),
        ("[   77.0] LustreError: 11-0: lustre-OST0000: operation ost_connect failed: rc = -16\n", 0, False),
        ("oss1 login: \n", 0, False),
    ],
)
def test_what_a_kernel_complains_of(text: str, count: int, *, deadly: bool) -> None:
    found = complaints(KERNEL + text)
    assert len(found) == count
    assert any(map(fatal, found)) == deadly


WELCOME = "\r\nWelcome to \x1b[1mDebian GNU/Linux 13 (trixie)\x1b[0m!\r\n"


@pytest.mark.parametrize(
    ("text", "early"),
    [
        (KERNEL + PANIC, True),
        (PANIC, True),  # a kernel that says little
        ("GRUB loading.\r\nWelcome to GRUB!\r\n" + PANIC, True),
        ("Kernel panic - not syncing: without times\r\n", True),
        (KERNEL + WELCOME + KERNEL + PANIC, True),  # its second boot
        (KERNEL + "[    2.1] systemd[1]: Failed to find module 'autofs4'\r\n" + PANIC, False),
        (WELCOME + PANIC, False),
        ("oss1 login: \r\n" + PANIC, False),
        ("[   41.316482] cloud-init[512]: Cloud-init v. 25.1.4\r\n" + PANIC, False),
        (PANIC.replace("    3.21", " 4003.21"), False),  # nobody speaks there, but it is old
        (KERNEL, False),
        ("", False),
    ],
)
def test_a_panic_before_user_space(text: str, *, early: bool) -> None:
    assert panicked_early(text) == early
