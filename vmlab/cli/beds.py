"""up, down, rebuild, list, status: whole beds."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vmlab.cli import complete
from vmlab.cli.options import (
    Accel,
    Acceleration,
    Bed,
    File,
    Form,
    HardEnd,
    KeepDisks,
    KeepNew,
    KeepWarm,
    Name,
    Output,
    RecoveryTime,
    Restart,
    Settings,
    StartJobs,
    Warm,
    WarmStart,
    Yes,
    option,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from vmlab.lab.beds.up import Raised
    from vmlab.lab.ground.hosts import Hosts
    from vmlab.lab.ground.progress import Progress
    from vmlab.lustre.target import Recovery
    from vmlab.report.timings import Timed
    from vmlab.topology import Topology
    from vmlab.virt.connection import Host

_JOBS = 32
_SHARE_S = 120.0


def up(
    file: File,
    name: Name = None,
    settings: Settings = None,
    dry_run: Annotated[bool, option("--dry-run", help="Only show what would be done, as `plan` does.")] = False,
    accel: Acceleration = Accel.AUTO,
    warm: WarmStart = None,
    restart: Restart = False,
    timeout: HardEnd = None,
    jobs: StartJobs = _JOBS,
    no_wait: Annotated[bool, option("--no-wait", help="Return when all nodes are started, not when ready.")] = False,
    recovery_time: RecoveryTime = None,
    timings: Annotated[bool, option("--timings", help="Show where the seconds went.")] = False,
) -> None:
    """Bring a bed up as its file says, or change it to that.

    What is already so is left alone. With an image that carries Lustre: LNet and the file systems, too.

    \b
    Examples:
      vmlab up ha-topology.yaml
      vmlab up my-bed.yaml --name test2 --set image=rocky9 --set nodes.@oss.memory=4GiB
      sed s/4GiB/8GiB/ my-bed.yaml | vmlab up -
    """
    from vmlab.cli.files import plan
    from vmlab.cli.target import load
    from vmlab.lab.ground.bed import hosts_of

    if dry_run:
        plan(file, name, settings, accel=accel, restart=restart)
        return
    topology = _warm(load(file, name, settings or ()), warm)
    with hosts_of(topology) as hosts:
        _up(
            hosts,
            topology,
            accel=accel,
            restart=restart,
            timeout_s=timeout,
            jobs=jobs,
            wait=not no_wait,
            recovery=window(recovery_time),
            timings=timings,
        )


def down(bed: Bed, yes: Yes = False, keep_disks: KeepDisks = False, keep_warm: KeepWarm = None) -> None:
    """Take a bed down: nodes, networks and disks go.

    Lists them and asks. Nothing else is touched; a disk that another domain uses stops it.

    \b
    Examples:
      vmlab down ha
      vmlab down ha-topology.yaml -y --keep-disks
      vmlab down ha --keep-warm
    """
    from vmlab.cli.target import at, is_file, load
    from vmlab.errors import UsageError
    from vmlab.lab.beds.down import refuse_of_another_host
    from vmlab.lab.beds.keep_warm import to_be_kept

    if keep_disks and keep_warm:
        raise UsageError("--keep-warm keeps the disks, too", hint=f"vmlab down {bed} --keep-warm")
    topology = load(bed) if is_file(bed) else None
    with at(bed, topology, tolerant=True) as (hosts, name):
        refuse_of_another_host(hosts, name)
        if keep_warm is None and not keep_disks:
            keep_warm = to_be_kept(hosts, name, topology)
        if keep_warm:
            _keep_warm(hosts, name)
            return
        _down(hosts, name, yes=yes, keep_disks=keep_disks)


def rebuild(
    bed: Bed,
    nodes: Annotated[
        str | None,
        option(
            "--nodes",
            "-n",
            help="Only these: oss1, oss[1-4], @oss; with the disks that are theirs alone. What nodes share stays.",
            autocompletion=complete.nodes,
        ),
    ] = None,
    name: Name = None,
    settings: Settings = None,
    yes: Yes = False,
    accel: Acceleration = Accel.AUTO,
    warm: WarmStart = None,
    keep_new: KeepNew = False,
    timeout: HardEnd = None,
    jobs: StartJobs = _JOBS,
) -> None:
    """Take a bed down, disks and all, and bring it up anew.

    With -n only some nodes, while the others run on. For a bed's name, its topology file is looked for here, then among
    those that ship with vmlab. The last line says which way it went: revert, warm or cold.

    \b
    Examples:
      vmlab rebuild ha-topology.yaml -y
      vmlab rebuild ha -y --keep-new
      vmlab rebuild ha -n oss1
    """
    from vmlab.cli.target import file_of, load
    from vmlab.errors import UsageError
    from vmlab.lab.beds.prepare import images_of
    from vmlab.lab.ground.bed import hosts_of

    topology = _warm(load(file_of(bed), name, settings or ()), warm)
    with hosts_of(topology) as hosts:
        images_of(hosts, topology)  # what cannot come up again is not taken down
        doomed = None
        if nodes is not None:
            if keep_new:
                raise UsageError("--keep-new keeps a bed that is new, and -n makes some of its nodes anew")
            doomed = _doomed(hosts, topology, nodes, yes=yes)
        elif not yes:
            _agreed_down(hosts, topology.name, keep_disks=False, verb="rebuild")
        _rebuild(hosts, topology, doomed, accel=accel, timeout_s=timeout, jobs=jobs, keep=keep_new)


def _warm(topology: "Topology", wish: Warm | None) -> "Topology":
    """As the command line says, else as the file does."""
    from dataclasses import replace

    return topology if wish is None else replace(topology, warm=wish.value)


def _doomed(hosts: "Hosts", topology: "Topology", nodes: str, *, yes: bool) -> "Collection[str]":
    """The nodes that are to be made anew, when that was asked."""
    from vmlab.cli.target import agreed
    from vmlab.errors import UsageError
    from vmlab.lab.beds.anew import own_disks
    from vmlab.lab.ground.bed import chosen, existing
    from vmlab.plan.observed import over_all
    from vmlab.values.nodeset import fold

    names = chosen(existing(hosts, topology.name), nodes)
    if gone := [name for name in names if name not in topology.nodes]:
        raise UsageError(
            f"{fold(gone)} is not in {topology.file}", hint=f"vmlab up {topology.file} --restart, which removes it"
        )
    bed = over_all(topology.name, hosts.look())
    lines = [f"  {name}: {', '.join(own_disks(bed, name)) or 'no disks'}" for name in names]
    again = f"vmlab rebuild {topology.name} -n '{nodes}' -y"
    agreed(f"{topology.name}: make {fold(names)} anew?", lines, yes=yes, again=again)
    return list(names)


def list_(output: Output = Form.TABLE) -> None:
    """List the beds here, and those of yours on other hosts.

    \b
    Example:
      vmlab list -o json
    """
    from vmlab.cli.target import here
    from vmlab.lab.beds.status import beds, beds_elsewhere
    from vmlab.report.tables import bed_table, show

    with here() as host:
        found = beds(host)
    spread = beds_elsewhere(lambda told: typer.echo(f"vmlab: warning: {told}", err=True))
    names = {line.name for line in spread}
    found = sorted((*spread, *(line for line in found if line.name not in names)), key=lambda line: line.name)
    if output is Form.JSON:
        from vmlab.report.plain import dumped

        typer.echo(dumped(found))
    elif found:
        show(bed_table(found))
    else:
        typer.echo("no beds: vmlab up FILE", err=True)


def status(
    bed: Bed,
    no_guests: Annotated[
        bool, option("--no-guests", help="Only what libvirt knows: no guest is asked how far it has come.")
    ] = False,
    output: Output = Form.TABLE,
) -> None:
    """Show a bed's nodes: state, stage, addresses, disks.

    Stages: off, domain, kernel, ssh, cloud-init, ready; or panic, paused, saved, with what helps. All guests are asked
    together; on a terminal what libvirt knows is there at once, and each stage as soon as it is known.

    \b
    Examples:
      vmlab status ha
      vmlab status ha --no-guests -o json
    """
    from vmlab.cli.target import at, refuse_away, with_externals
    from vmlab.lab.beds.channel import ensure
    from vmlab.lab.beds.status import externals, known
    from vmlab.lab.ground.bed import existing
    from vmlab.lab.ground.kept import reverting
    from vmlab.report.progress import Plain
    from vmlab.report.tables import node_table, show

    topology = with_externals(bed)
    with at(bed, topology, tolerant=True) as (hosts, name):
        there = existing(hosts, name)
        ensure(hosts, name, there.metadata.values(), Plain(sys.stderr), tell=True)
        found, mark = known(hosts, there), reverting(hosts, name)
        if not no_guests:
            from vmlab.lab.beds.reached import reached
            from vmlab.report.progress import filled

            with filled(found, live=output is Form.TABLE) as tell:
                found = reached(hosts, there, found, tell)
    found += externals(topology) if topology is not None else []
    if output is Form.JSON:
        from vmlab.report.plain import dumped

        typer.echo(dumped(found))
    else:
        show(node_table(found))
    problems = [(node.problem, node.hint) for node in found if node.problem]
    if mark is not None:
        from vmlab.plan.snapshots import half_way

        half = half_way(name, mark)
        problems = [(half.message, half.hint)]  # what helps a single node would do harm
    for problem, hint in problems:
        typer.echo(f"vmlab: warning: {problem}\nhint: {hint}", err=True)
    refuse_away(hosts, name)


def _up(
    hosts: "Hosts",
    topology: "Topology",
    *,
    accel: Accel,
    restart: bool,
    timeout_s: float | None,
    jobs: int,
    wait: bool,
    recovery: "Recovery | None",
    timings: bool,
) -> None:
    """Bring it up and tell of it."""
    from vmlab.lab.beds.up import up as bring_up
    from vmlab.report.tables import show
    from vmlab.report.timings import stage_table, timing_table

    def work(progress: "Progress") -> "Raised":
        return bring_up(
            hosts,
            topology,
            accel=accel,
            restart=restart,
            timeout_s=timeout_s,
            jobs=jobs,
            wait=wait,
            progress=progress,
            recovery=recovery,
            sweep="",
        )

    raised, progress = _raised(hosts, topology, work, state="ready" if wait else "started")
    if timings:
        show(timing_table(progress))
        if raised.stages:
            show(stage_table(raised.stages))


def _rebuild(
    hosts: "Hosts",
    topology: "Topology",
    doomed: "Collection[str] | None",
    *,
    accel: Accel,
    timeout_s: float | None,
    jobs: int,
    keep: bool,
) -> None:
    """Make the bed anew, or only what is doomed of it, and tell of it and of the way."""
    from vmlab.lab.beds.anew import rebuild as make_anew
    from vmlab.lab.beds.as_new import rebuild as make_new

    def work(progress: "Progress") -> "Raised":
        if doomed is not None:
            return make_anew(hosts, topology, doomed, accel=accel, timeout_s=timeout_s, jobs=jobs, progress=progress)
        return make_new(hosts, topology, accel=accel, timeout_s=timeout_s, jobs=jobs, keep=keep, progress=progress)

    raised, _ = _raised(hosts, topology, work, state="ready")
    typer.echo(f"{topology.name}: rebuilt: {_way(raised, doomed or topology.nodes)}", err=True)


def _way(raised: "Raised", nodes: "Collection[str]") -> str:
    from vmlab.values.nodeset import fold

    if raised.reverted:
        return f"revert to what was new at {raised.reverted}"
    warm = [node for node in nodes if node in raised.clones]
    cold = [node for node in nodes if node not in raised.clones]
    if warm and cold:
        return f"{fold(warm)} warm, {fold(cold)} cold"
    return "warm" if warm else "cold"


def _raised(
    hosts: "Hosts", topology: "Topology", work: "Callable[[Progress], Raised]", *, state: str
) -> "tuple[Raised, Timed]":
    """Have it done, and tell what came of it."""
    from vmlab.report.progress import shown
    from vmlab.report.tables import raised_table, show
    from vmlab.report.timings import Timed
    from vmlab.runtime.wait import now

    begin = now()
    with shown(tuple(topology.nodes)) as seen:
        progress = Timed(seen)
        raised = work(progress)
        if topology.share_memory and state == "ready" and (raised.actions or raised.reverted):
            _share_memory(hosts, progress)
    show(raised_table(raised))
    done = len(raised.actions) + sum(stage.applied for stage in raised.stages)
    changed = f"{done} action{'s' * (done != 1)}" if done else ""
    if clones := len(raised.clones):
        changed += f", {clones} from a template's memory"
    if waiting := len({action.node or action.name for action in raised.prepared.plan.pending}):
        held = f"{waiting} change{'s' * (waiting != 1)} wait{'s' * (waiting == 1)} for --restart"
        changed = ", ".join(filter(None, (changed, held)))
    number = len(raised.prepared.nodes)
    took = f"{now() - begin:.1f} s ({changed or 'nothing to change'})"
    typer.echo(f"{topology.name}: {number} node{'s' * (number != 1)} {state} in {took}", err=True)
    return raised, progress


def _share_memory(hosts: "Hosts", progress: "Progress") -> None:
    """The bed is up, whatever comes of it."""
    from vmlab.errors import VmlabError
    from vmlab.lab.hosts.share_memory import share_memory
    from vmlab.report.memory import told

    def share(host: "Host") -> None:
        try:
            progress.say(f"{host.name}: {told(share_memory(host, _SHARE_S, progress))}")
        except VmlabError as error:
            hint = f" ({error.hint})" if error.hint else ""
            progress.warn(f"{host.name}: guests share no memory: {error.message}{hint}")

    hosts.each(share, failed="not all hosts' guests share memory")


def _keep_warm(hosts: "Hosts", bed: str) -> None:
    from vmlab.lab.beds.keep_warm import keep_warm
    from vmlab.report.progress import shown

    with shown() as progress:
        kept = keep_warm(hosts, bed, progress)
    again = f"`vmlab up` of its file goes on from there, `vmlab down {bed} --no-keep-warm` gives it up"
    typer.echo(f"{bed}: off, with the memory of {len(kept)} node{'s' * (len(kept) != 1)} kept: {again}", err=True)


def _down(hosts: "Hosts", bed: str, *, yes: bool, keep_disks: bool) -> None:
    from vmlab.lab.beds.down import down as take_down
    from vmlab.lab.beds.down import others
    from vmlab.report.progress import shown

    if not yes:
        _agreed_down(hosts, bed, keep_disks=keep_disks, verb="down")
    with shown() as progress:
        done = take_down(hosts, bed, keep_disks=keep_disks, progress=progress)
    typer.echo(f"{bed}: gone" if done else f"{bed}: nothing of it is there ({others(hosts)})", err=True)


def _agreed_down(hosts: "Hosts", bed: str, *, keep_disks: bool, verb: str) -> None:
    from vmlab.cli.target import agreed
    from vmlab.lab.beds.down import planned_removal
    from vmlab.report.plan import removal_lines

    doomed = planned_removal(hosts, bed, keep_disks=keep_disks)
    agreed(f"{bed}: take it down?", removal_lines(bed, doomed.values()), yes=False, again=f"vmlab {verb} {bed} -y")
