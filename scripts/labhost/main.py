"""An emulated machine that is a real host to all that runs in it: NUMA cells, IOMMU groups, SR-IOV, libvirt, KVM.

The first `up` builds it from Debian packages (minutes); later ones load it as it first stood ready (seconds).
Kept in $VMLAB_LAB_HOST_DIR, else in ~/.cache/vmlab/lab-host.
"""

import argparse
import os
import sys
from pathlib import Path

from labhost.hardware import CELL_GIB
from labhost.machine import LabHost, cache
from vmlab.errors import VmlabError
from vmlab.report.errors import tell
from vmlab.runtime.lock import held

_WAIT_S = 1800.0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="lab-host", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="have it running; a running one stays, unless its recipe or its memory changed")
    up.add_argument(
        "--cell-memory",
        type=int,
        default=CELL_GIB,
        choices=range(2, 65),
        metavar="GIB",
        help=f"of each of its two cells; absent: {CELL_GIB}",
    )
    commands.add_parser("down", help="end it")
    commands.add_parser("status", help="does it run? status 1 if not")
    commands.add_parser("console", help="print what its kernel printed")
    commands.add_parser("ssh-config", help="what ssh_config(5) needs for qemu+ssh://root@lab-host/system")
    join = commands.add_parser("join", help="a cable from its switch to that of another one, until either ends")
    join.add_argument("folder", type=Path, metavar="DIR", help="the other one's VMLAB_LAB_HOST_DIR")
    ssh = commands.add_parser("ssh", help="a shell in it, or run CMD there")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    asked = parser.parse_args()
    host = LabHost(cache(), getattr(asked, "cell_memory", CELL_GIB))
    try:
        if asked.command == "ssh":
            command = host.ssh_command(*asked.words)
            os.execvp(command[0], command)  # noqa: S606  no shell is wanted
        if asked.command == "ssh-config":
            print(host.ssh_config(), end="")
        elif asked.command == "join":
            other = LabHost(asked.folder)
            host.plug(other.cable)
            other.plug(host.cable)
        elif asked.command == "console":
            print(host.console(1 << 20))
        elif asked.command == "status":
            print(f"runs (pid {host.pid})" if host.pid is not None else "does not run")
            return 0 if host.pid is not None else 1
        else:
            with held(f"lab-host.{os.getuid()}", what="the lab host", wait_s=_WAIT_S):
                if asked.command == "up":
                    print(f"lab host: {host.up()}", file=sys.stderr)
                else:
                    host.down()
    except VmlabError as error:
        tell(error, sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0
