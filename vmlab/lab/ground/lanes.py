"""Nodes' lanes of a plan: done, and told as they go on."""

from collections.abc import Iterable

from vmlab.lab.ground.progress import Progress
from vmlab.plan.actions import Action
from vmlab.virt.connection import Host
from vmlab.virt.perform import Lane, perform_lanes


def node_lanes(host: Host, lanes: Iterable[Lane], progress: Progress, *, failed: str, gone: bool = False) -> None:
    """As `perform_lanes`; `gone`: a node whose lane is over is not there any more."""

    def begin(action: Action) -> None:
        if action.node is not None:
            progress.stage(action.node, action.kind)

    def end(lane: Lane) -> None:
        node = lane[-1].node
        if gone and node is not None:
            progress.stage(node, "gone")

    perform_lanes(host, lanes, failed=failed, begin=begin, end=end)
