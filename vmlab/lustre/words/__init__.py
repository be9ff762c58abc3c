"""The words in which tools of Lustre, LNet and the kernel say that something went wrong: a file for each kind of them.

They are those of 2.10 to 2.17's mkfs.lustre, mount.lustre, lctl, lnetctl and lst (read in lustre/utils and lnet/utils),
of kmod, util-linux, e2fsprogs and ZFS, and strerror's for what the kernel answered.
"""

from typing import NamedTuple

SYSLOG = "in the guest: dmesg | grep -iE 'lustre|lnet' | tail -n 40"


class Row(NamedTuple):
    """`pattern` is searched in all that was printed, line ends included in `.` where it says `.*?`.

    Its named groups fill `message` and `hint`; BED in a hint becomes the bed's name. `passes`: see `trouble.Trouble`.
    """

    pattern: str
    message: str
    hint: str
    passes: bool = False
