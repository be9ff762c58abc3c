"""Wait until targets have recovered: their clients replayed what a server that went away had not yet on disk.

A target that is mounted waits for the clients it had, five minutes and more if one of them is gone (a window that mount
options shorten). Until then it refuses other clients, and their mounts hang. Clients that went idle are woken.
"""

from collections.abc import Collection, Mapping

from vmlab.errors import GuestError
from vmlab.lab.filesystems.lustre_bed import LustreBed
from vmlab.lab.ground.progress import Progress
from vmlab.lustre.idle import wake
from vmlab.lustre.status import RecoveryStatus
from vmlab.runtime.parallel import each
from vmlab.runtime.wait import Deadline, now, until
from vmlab.steps import Command

_LOOK_EVERY_S = 1.0
_ABORT_S = 30.0
_WAKE_S = 10.0
_JOBS = 64
_SILENCE_S = 1200.0


def recovered(
    bed: LustreBed,
    where: Mapping[str, str],
    progress: Progress,
    deadline: Deadline,
    *,
    patience_s: float | None = None,
) -> dict[str, tuple[float, RecoveryStatus]]:
    """When each target's recovery was over, and its last status; `where` has the node of each label.

    An MGT recovers nothing. What is not over after `patience_s` is aborted: whoever has not come by then is evicted. It
    is given up at the deadline, or when nothing new was heard of it for twenty minutes.
    Raises GuestError for what is not over in time.
    """
    targets = bed.targets
    left = {label: node for label, node in where.items() if targets[label].kind != "MGT"}
    ended = {label: (now(), RecoveryStatus("MGS", "")) for label in where if label not in left}
    said: dict[str, str] = {}
    clients = _Clients(bed)
    heard = [now()]

    def over() -> bool:
        clients.wake(left)
        for node in dict.fromkeys(left.values()):
            known = bed.survey(node).recovery or {}
            for label in [label for label, at in left.items() if at == node]:
                status = known.get(targets[label].service)
                if status is None:
                    continue
                line = _line(status)
                if said.get(label, "INACTIVE 0/0 clients") != line:
                    most = f", at most {status.remaining_s} s left" if status.remaining_s else ""
                    progress.say(f"{label} on {node}: {line}{most}")
                    heard[0] = now()
                said[label] = line
                if status.over:
                    ended[label] = now(), status
                    del left[label]
        return not left

    if patience_s is not None and not until(over, Deadline.after(patience_s), every_s=_LOOK_EVERY_S):
        for label, node in left.items():
            progress.say(f"{label} on {node}: whoever it waits for is gone, so its recovery is ended")
            bed.guests[node].run(_abort(targets[label].service), deadline_s=_ABORT_S, as_root=True)
    if not until(lambda: over() or now() - heard[0] > _SILENCE_S, deadline, every_s=_LOOK_EVERY_S) or left:
        label, node = next(iter(left.items()))
        raise GuestError(
            f"{label} on {node}: its recovery is not over: {said.get(label, 'nothing is known of it')}",
            node=node,
            stage="recovery",
            hint=f"vmlab ssh {bed.topology.name} {node} -- {' '.join(_abort(targets[label].service))}",
        )
    return ended


class _Clients:
    """The nodes that had a file system mounted when the bed was opened, as long as they answer."""

    def __init__(self, bed: LustreBed) -> None:
        self._bed = bed
        self._mounted = {
            node: mounted
            for node, survey in bed.surveys.items()
            if (mounted := {mount.client_of for mount in survey.mounts} - {""})
        }

    def wake(self, labels: Collection[str]) -> None:
        """Whoever does not answer is not asked again: its target will wait for it, and must not wait for us."""
        fsnames = {label: self._bed.targets[label].fsname for label in labels}
        asked = {
            node: tuple(label for label, fsname in fsnames.items() if fsname in mounted)
            for node, mounted in self._mounted.items()
        }

        def answers(node: str) -> bool:
            try:
                return not self._bed.guests[node].run(wake(asked[node]), deadline_s=_WAKE_S, as_root=True).timed_out
            except GuestError:
                return False

        nodes = [node for node, mine in asked.items() if mine]
        for node, answered in zip(nodes, each(answers, nodes, jobs=_JOBS, failed="clients were lost"), strict=True):
            if not answered:
                del self._mounted[node]


def _abort(service: str) -> Command:
    return ("lctl", "--device", service, "abort_recovery")


def _line(found: RecoveryStatus) -> str:
    evicted = f", {found.evicted} evicted" if found.evicted else ""
    return f"{found.state} {found.connected}/{found.expected} clients{evicted}"
