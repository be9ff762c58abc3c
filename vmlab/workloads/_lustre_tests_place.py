"""The nodes that Lustre's test framework runs on: what each has, what all need before, and the framework's own file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from vmlab.errors import WorkloadError
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.suites.cfg import POWER, Choices, failure_mode, lustre_cfg, tested
from vmlab.suites.shape import FLAKEY, Shape, shape_of
from vmlab.topology import Topology
from vmlab.values.nodeset import fold
from vmlab.workloads import Bed, Job, Node, Task

HOME = "/srv/vmlab"
"""On all nodes: the configuration, and the directory that they share."""
SHARED = f"{HOME}/shared"

_PREPARE_S = 300.0

FACTS: Command = ("sh", "-c", script(__file__, "lustre_tests_facts.sh"))
"""The fact command whose output, as the fact `tests`, a `Place` is made of."""
_PREPARE = script(__file__, "lustre_tests_prepare.sh")
_EXPORT = script(__file__, "lustre_tests_export.sh")
_SHARE = script(__file__, "lustre_tests_share.sh")

_SERVES = ("exportfs", "rpc.nfsd", "nfsd")
_MOUNTS = ("mount.nfs", "nfs")


def taking(bed: Bed, driver: str) -> set[str]:
    """Who takes part: servers and clients of the file system that is tested, and `driver`."""
    fs = tested(bed.topology)
    servers = {name for one in bed.topology.targets if one.fsname == fs.name for name in one.servers}
    return {driver, *servers, *fs.clients}


def mode_of(topology: Topology, driver: str, environment: Mapping[str, str]) -> Literal["SOFT", "HARD"]:
    """The framework's FAILURE_MODE, of which its environment has the last word."""
    return "HARD" if (environment.get("FAILURE_MODE") or failure_mode(topology, driver)) == "HARD" else "SOFT"


@dataclass(frozen=True, slots=True)
class Place:
    """The nodes, `driver` first, with what each has; `tests` is the folder of auster there, `suites` their sub-tests.

    `mounted`: one of them has something of Lustre mounted.
    """

    bed: Bed
    driver: str
    nodes: tuple[str, ...]
    has: Mapping[str, frozenset[str]]
    tests: str
    suites: Mapping[str, tuple[str, ...]]
    mounted: bool

    @classmethod
    def of(cls, bed: Bed, driver: str, nodes: Sequence[Node]) -> Self:
        """By what the nodes' fact `tests` says."""
        names = taking(bed, driver)
        said = {node.name: node.facts.get("tests", "") for node in nodes if node.name in names}
        return cls(
            bed,
            driver,
            (driver, *(name for name in said if name != driver)),
            {name: frozenset(re.findall(r"^has (\S+)$", text, re.MULTILINE)) for name, text in said.items()},
            next(iter(re.findall(r"^tests (/\S+)$", said.get(driver, ""), re.MULTILINE)), ""),
            {
                suite: tuple(names.split())
                for suite, names in re.findall(r"^suite (\S+) (.*)$", said.get(driver, ""), re.MULTILINE)
            },
            any(re.search(r"^mounted [1-9]", text, re.MULTILINE) for text in said.values()),
        )

    @property
    def not_shared(self) -> str:
        """Why the nodes can share no directory, "" if they can."""
        lacking = [f"{what} on {self.driver}" for what in _SERVES if what not in self.has[self.driver]]
        for what in _MOUNTS:
            without = [node for node in self.nodes[1:] if what not in self.has[node]]
            lacking += [f"{what} on {fold(without)}"] if without else []
        return f"there is no {', no '.join(lacking)}" if lacking else ""

    @property
    def shared(self) -> bool:
        """All nodes have a directory in common, or there is only one."""
        return len(self.nodes) == 1 or not self.not_shared

    def check(self) -> None:
        """Raises WorkloadError if the tests cannot run here."""
        if not self.tests:
            raise WorkloadError(
                f"lustre_tests: Lustre's tests are not on {self.driver}",
                hint="an image with them: vmlab image build NAME --from IMAGE --packages DIR",
            )
        if len(self.nodes) > 1 and "pdsh" not in self.has[self.driver]:
            raise WorkloadError(
                f"lustre_tests: {self.driver} has no pdsh, by which the framework reaches the other nodes",
                hint="an image with it: vmlab image build NAME --from IMAGE --packages pdsh.deb",
            )

    def shape(self, environment: Mapping[str, str]) -> Shape:
        """What suites see of the bed."""
        servers = {name for one in self.bed.topology.targets for name in one.servers if name in self.has}
        has = {
            FLAKEY: all(FLAKEY in self.has[name] for name in servers),
            **{what: what in self.has[self.driver] for what in (POWER, "mpirun")},
        }
        mode = mode_of(self.bed.topology, self.driver, environment)
        return shape_of(self.bed.topology, failure_mode=mode, shared=self.shared, has=has)

    @property
    def file(self) -> str:
        """The name of the configuration."""
        return f"{self.bed.topology.name}.sh"

    def cfg(self, environment: Mapping[str, str]) -> str:
        """The framework's configuration of this bed."""
        shared = SHARED if self.shared else ""
        choices = Choices(self.driver, shared, variables=environment)
        return lustre_cfg(self.bed.topology, self.bed.targets, self.bed.configs, choices)

    def prepare(self, number: int, environment: Mapping[str, str]) -> tuple[Task | Job, ...]:
        """What each node needs, the first time or again after all began anew; what is there already stays."""
        files = {self.file: self.cfg(environment)}

        def task(what: str, node: str, text: str, *words: str) -> Task:
            argv = ("sh", "-c", text, "vmlab", *words)
            own = files if what == "prepare" else {}
            return Task(name=f"{what}.{number}.{node}", node=node, argv=argv, deadline_s=_PREPARE_S, files=own)

        all_nodes = tuple(task("prepare", node, _PREPARE, HOME, self.file, *self.nodes) for node in self.nodes)
        others = self.nodes[1:]
        if not others or not self.shared:
            return (Job(tasks=all_nodes),)
        export = task("export", self.driver, _EXPORT, SHARED, *others)
        mounts = tuple(task("share", node, _SHARE, SHARED, self.driver) for node in others)
        return (Job(tasks=all_nodes), export, Job(tasks=mounts))
