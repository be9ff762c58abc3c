"""fs format, mount, umount, status, failover, failback."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli.commands import Group
from vmlab.cli.options import Bed, Form, HardEnd, Name, Output, RecoveryTime, Yes, option, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmlab.lab.ground.stages import StageTime

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="File systems: format, mount, umount, status, failover.",
)


class How(StrEnum):
    """How a server goes down."""

    POWER = "power"
    UMOUNT = "umount"
    PANIC = "panic"


@app.command("format")
def format_(
    bed: Bed,
    name: Name = None,
    reformat: Annotated[
        bool, option("--reformat", help="Format targets anew that are formatted; all that is on them is lost.")
    ] = False,
    yes: Yes = False,
    timeout: HardEnd = None,
) -> None:
    """Format the targets whose disks are empty.

    What is formatted is refused. --reformat lists it and asks, and needs everything unmounted.

    \b
    Examples:
      vmlab fs format ha
      vmlab fs format ha --reformat -y
    """
    from vmlab.cli.target import agreed, described
    from vmlab.errors import HostError
    from vmlab.lab.filesystems.format import contents
    from vmlab.lab.filesystems.format import format_ as make
    from vmlab.lab.ground.hard_end import ending
    from vmlab.report.progress import shown

    with described(bed, name) as (hosts, topology):
        there = contents(hosts, topology)
        lines = [f"{label} {found.text}" for label, found in there.items()]
        if reformat:
            again = f"vmlab fs format {bed} --reformat -y"
            agreed(f"{topology.name}: format {len(lines)} targets anew?", lines, yes=yes, again=again)
        elif there and sum(c.own for c in there.values()) == sum(bool(t.size or t.device) for t in topology.targets):
            raise HostError(
                f"{topology.name}: its {len(there)} targets are formatted already",
                hint=f"to lose what is on them: vmlab fs format {bed} --reformat",
            )
        with (
            shown(tuple(topology.nodes)) as seen,
            ending(hosts, topology.name, timeout, seen, again="vmlab fs format") as (end, progress),
        ):
            for line in () if reformat else lines:
                progress.say(f"{line}: left alone")
            times = make(hosts, topology, progress, end, reformat=reformat)
    _tell(topology.name, times, "formatted")


@app.command()
def mount(
    bed: Bed,
    name: Name = None,
    recovery_time: RecoveryTime = None,
    timeout: HardEnd = None,
) -> None:
    """Bring up LNet, mount targets and clients; `up` does it, too.

    A target that a partner has stays there.

    \b
    Example:
      vmlab fs mount ha --recovery-time 2m
    """
    from vmlab.cli.target import described
    from vmlab.lab.filesystems.mount import mount as make
    from vmlab.lab.ground.hard_end import ending
    from vmlab.report.progress import shown

    with (
        described(bed, name) as (hosts, topology),
        shown(tuple(topology.nodes)) as seen,
        ending(hosts, topology.name, timeout, seen, again="vmlab fs mount") as (end, progress),
    ):
        times = make(hosts, topology, progress, end, recovery=window(recovery_time))
    _tell(topology.name, times, "mounted")


@app.command()
def umount(
    bed: Bed,
    name: Name = None,
    timeout: HardEnd = None,
) -> None:
    """Unmount clients, OSTs, MDTs and MGTs.

    What is busy is named, with who uses it. `down` does not need it.

    \b
    Example:
      vmlab fs umount ha
    """
    from vmlab.cli.target import described
    from vmlab.lab.filesystems.mount import unmount
    from vmlab.lab.ground.hard_end import ending
    from vmlab.report.progress import shown

    with (
        described(bed, name) as (hosts, topology),
        shown(tuple(topology.nodes)) as seen,
        ending(hosts, topology.name, timeout, seen, again="vmlab fs umount") as (end, progress),
    ):
        times = unmount(hosts, topology, progress, end)
    _tell(topology.name, times, "unmounted")


@app.command()
def status(bed: Bed, name: Name = None, output: Output = Form.TABLE) -> None:
    """Show targets and client mounts.

    Targets: the node that has it, state, recovery, space. Clients: mounts, and connections by their state.

    \b
    Examples:
      vmlab fs status ha
      vmlab fs status ha -o json
    """
    from vmlab.cli.target import described, refuse_away
    from vmlab.lab.filesystems.status import status as look
    from vmlab.report.filesystems import fs_tables
    from vmlab.report.plain import dumped
    from vmlab.report.tables import show

    with described(bed, name, tolerant=True) as (hosts, topology):
        found = look(hosts, topology)
        if output is Form.JSON:
            typer.echo(dumped(found))
        else:
            show(fs_tables(found))
        refuse_away(hosts, topology.name)


@app.command()
def failover(
    bed: Bed,
    what: Annotated[str, typer.Argument(metavar="TARGET|NODE", help="A target (lustre-OST0000, OST0000) or a server.")],
    how: Annotated[
        How, option("--how", help="power: hard off. panic: the kernel crashes, then off. umount: clean.")
    ] = How.POWER,
    name: Name = None,
    recovery_time: RecoveryTime = None,
    timeout: HardEnd = None,
    output: Output = Form.TABLE,
) -> None:
    """Take a server down; its partner takes its targets over.

    The partner mounts when libvirt says that the server is off. With power and panic all targets of the server move;
    with umount only the one that is named. Waits for recovery. Work may go on in the bed.

    A host that does not answer proves nothing: its servers' partners mount only if its
    `fence:` switches it off and says so.

    \b
    Examples:
      vmlab fs failover ha oss1
      vmlab fs failover ha OST0001 --how umount --recovery-time 2m
    """
    from vmlab.cli.target import described
    from vmlab.lab.filesystems.failover import failover as fail
    from vmlab.lab.ground.hard_end import ending
    from vmlab.report.filesystems import failover_table
    from vmlab.report.plain import dumped
    from vmlab.report.progress import shown
    from vmlab.report.tables import show

    with (
        described(bed, name, tolerant=True) as (hosts, topology),
        shown() as seen,
        ending(hosts, topology.name, timeout, seen, again="vmlab fs failover") as (end, progress),
    ):
        done = fail(
            hosts,
            topology,
            what,
            how=how.value,
            recovery=window(recovery_time),
            progress=progress,
            deadline=end,
        )
    if output is Form.JSON:
        typer.echo(dumped(done))
    else:
        show(failover_table(done))


@app.command()
def failback(
    bed: Bed,
    what: Annotated[
        str | None, typer.Argument(metavar="[TARGET|NODE]", help="A target, or a primary; absent: all targets.")
    ] = None,
    name: Name = None,
    recovery_time: RecoveryTime = None,
    timeout: HardEnd = None,
    output: Output = Form.TABLE,
) -> None:
    """Move targets back to their primaries, cleanly.

    A primary that is off is started by `up` first.

    \b
    Example:
      vmlab fs failback ha
    """
    from vmlab.cli.target import described
    from vmlab.lab.filesystems.failover import failback as back
    from vmlab.lab.ground.hard_end import ending
    from vmlab.report.filesystems import failover_table
    from vmlab.report.plain import dumped
    from vmlab.report.progress import shown
    from vmlab.report.tables import show

    with (
        described(bed, name) as (hosts, topology),
        shown() as seen,
        ending(hosts, topology.name, timeout, seen, again="vmlab fs failback") as (end, progress),
    ):
        done = back(
            hosts,
            topology,
            what,
            recovery=window(recovery_time),
            progress=progress,
            deadline=end,
        )
    if output is Form.JSON:
        typer.echo(dumped(done))
    elif done is None:
        typer.echo(f"{topology.name}: all targets are on their primaries", err=True)
    else:
        show(failover_table(done))


def _tell(bed: str, times: "Sequence[StageTime]", done: str) -> None:
    from vmlab.report.tables import show
    from vmlab.report.timings import stage_table

    if times:
        show(stage_table(times))
    changed = sum(stage.applied for stage in times)
    seconds = sum(stage.seconds for stage in times)
    did = f"{done} in {seconds:.1f} s ({changed} steps)" if changed else f"nothing to change ({seconds:.1f} s)"
    typer.echo(f"{bed}: {did}", err=True)
