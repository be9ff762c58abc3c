"""ssh, exec, cp, console, power: single nodes, or several at once."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import Bed, Form, Jobs, Node, Nodes, Output, Timeout, option

_EXEC_TIMEOUT = "10m"
_JOBS = 64


def ssh(
    bed: Bed,
    node: Node,
    command: Annotated[list[str] | None, typer.Argument(metavar="CMD", help="Absent: a login shell.")] = None,
) -> None:
    """Log in to a node, or run one command there.

    \b
    Examples:
      vmlab ssh ha oss1
      vmlab ssh ha oss1 -- dmesg --follow
    """
    from vmlab.cli.target import at, with_externals
    from vmlab.guest.child import attached
    from vmlab.lab.beds.execute import door

    topology = with_externals(bed)
    with at(bed, topology, tolerant=True, nodes=node) as (hosts, name):
        guest = door(hosts, name, node, topology)
        argv = guest.argv(_command(command or []), tty=sys.stdin.isatty() and sys.stdout.isatty())
        sys.stdout.flush()
        status = attached(argv, guest.watch)
    raise typer.Exit(status if status >= 0 else 128 - status)


def exec_(
    bed: Bed,
    command: Annotated[list[str], typer.Argument(metavar="CMD", help="The command and its arguments, after `--`.")],
    nodes: Annotated[
        str,
        option(
            "--nodes", "-n", help="Node set: oss1, oss[1-4], @oss, '*'. Absent: all.", autocompletion=complete.nodes
        ),
    ] = "*",
    output: Output = Form.TABLE,
    timeout: Timeout = _EXEC_TIMEOUT,  # type: ignore[assignment]  # parsed by Typer
    jobs: Jobs = _JOBS,
) -> None:
    """Run a command on many nodes; equal output is folded.

    Exits with the worst status: 124 for a node that was too late, 255 for one that ssh did not reach; with 6 if one is
    dead, as its console or libvirt says. Ctrl-C ends what runs in the guests.

    A command of one word with blanks in it is a line for the shell.

    \b
    Examples:
      vmlab exec ha -- uptime
      vmlab exec ha -n @oss -- uname -r
      vmlab exec ha -n 'oss[1-2],client1' -- 'dmesg | tail -n 3'
    """
    from vmlab.cli.target import at, with_externals
    from vmlab.errors import together
    from vmlab.lab.beds.execute import execute
    from vmlab.report.answers import tell
    from vmlab.report.plain import dumped

    topology = with_externals(bed)
    with at(bed, topology, tolerant=True, nodes=nodes) as (hosts, name):
        done = execute(hosts, name, nodes, _command(command), jobs=jobs, deadline_s=timeout, topology=topology)
    if output is Form.JSON:
        typer.echo(dumped(done.answers))
    else:
        tell(done.answers)
    if done.dead:
        raise together(done.dead, f"{name}: {len(done.dead)} nodes are dead")
    worst = max((a.status if a.status >= 0 else 128 - a.status for a in done.answers), default=0)
    if not worst:
        done.choice.refuse_rest()
    raise typer.Exit(worst)


def cp(
    source: Annotated[str, typer.Argument(metavar="SRC", help="FILE here, or NODE:PATH, or BED.NODE:PATH.")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="The same; NODES:PATH copies to several.")],
    recursive: Annotated[bool, option("--recursive", "-r", help="Copy folders with all that is in them.")] = False,
    jobs: Jobs = _JOBS,
) -> None:
    """Copy files to or from nodes, or from one to others.

    What goes from node to node lies in this machine's TMPDIR in between.

    \b
    Examples:
      vmlab cp ha.mds1:/etc/lustre.conf @oss:/etc/
      vmlab cp lustre.deb @oss:/tmp/
      vmlab cp ha.client1:/var/log/syslog .
    """
    from vmlab.cli.target import of_places, with_externals
    from vmlab.lab.beds.execute import copy

    with of_places(source, destination) as hosts:
        copy(hosts, source, destination, recursive=recursive, jobs=jobs, described=with_externals)


def console(
    bed: Bed,
    node: Node,
    log: Annotated[bool, option("--log", help="Print what it printed since the node's last start.")] = False,
    since: Annotated[
        int, option("--since", metavar="START", help="With --log: from so many starts before that on.", min=0)
    ] = 0,
) -> None:
    """Join the terminal with a node's serial console, or print it.

    Ctrl+] leaves it. What was printed in the last 8 starts is kept, that before a power cycle or a panic, too.

    \b
    Examples:
      vmlab console ha oss1
      vmlab console ha oss1 --log --since 1
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.lab.beds.execute import domain_of, printed
    from vmlab.report.answers import console_log
    from vmlab.virt.console import attach

    with at(bed, guests_only(bed, node), tolerant=True, nodes=node) as (hosts, name):
        if log or since:
            typer.echo(console_log(printed(hosts, name, node, since)), nl=False)
            return
        attach(*domain_of(hosts, name, node))


def gdb(
    bed: Bed,
    node: Node,
    vmlinux: Annotated[Path | None, option("--vmlinux", help="The kernel's symbols; absent: looked for.")] = None,
    print_: Annotated[bool, option("--print", help="Only print the command line.")] = False,
) -> None:
    """Join gdb to the kernel of a node that has `gdb: true`.

    Symbols are looked for beside the kernel that the node boots, in its build tree and in /usr/lib/debug. Where gdb is
    not installed, or only root may join, the command line is printed. The guest stands still meanwhile. gdb runs here;
    ssh leads to a guest on another machine.

    \b
    Examples:
      vmlab gdb ha oss1
      vmlab gdb ha oss1 --vmlinux ~/linux/vmlinux --print
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.lab.beds.debug import join, session

    with at(bed, guests_only(bed, node), tolerant=True, nodes=node) as (hosts, name):
        found = session(hosts, name, node, vmlinux)
        status = None if print_ else join(found)
    if status is None:
        typer.echo(found.line)
    else:
        raise typer.Exit(status if status >= 0 else 128 - status)


class Verb(StrEnum):
    """What is done to the power."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    NMI = "nmi"
    STATUS = "status"


def power(
    verb: Annotated[Verb, typer.Argument(metavar="on|off|cycle|nmi|status", help="What to do.")],
    bed: Bed,
    nodes: Nodes = None,
    output: Output = Form.TABLE,
) -> None:
    """Switch nodes on and off, like a management board.

    `off` is hard, and over when QEMU is gone. `on` gives a node its devices, as `up` does; a node whose kernel crashed
    is kept with its memory until it is switched off. `nmi` interrupts a kernel that hangs: it panics if `sysctl
    kernel.unknown_nmi_panic=1` was set, and only says so on its console if not.

    \b
    Examples:
      vmlab power off ha oss1
      vmlab power status ha
    """
    from vmlab.cli.target import at, guests_only
    from vmlab.lab.beds.power import power as switch
    from vmlab.report.plain import dumped
    from vmlab.report.progress import shown
    from vmlab.report.tables import power_table, show

    with at(bed, guests_only(bed, nodes), tolerant=True) as (hosts, name), shown() as progress:
        states, choice = switch(hosts, name, nodes, verb, progress)
    if output is Form.JSON:
        typer.echo(dumped(states))
    else:
        show(power_table(states))
    choice.refuse_rest()


def _command(words: list[str]) -> tuple[str, ...]:
    """What to run: `--` ends the options; one word with blanks in it is a line for the shell, as ssh has it."""
    words = words[1:] if words[:1] == ["--"] else words
    if len(words) == 1 and any(c.isspace() for c in words[0]):
        return ("sh", "-c", words[0])
    return tuple(words)
