"""The configuration that Lustre's test framework sources: a bed in the framework's words.

For the framework each MDT is a facet mdsN and each OST an ostN, with a host, a partner and a device; the device has the
same path on both. NIDs are always written. The framework would look them up by the link type of each address: it takes
the management network's for LNet's on tcp, and finds none behind RoCE, where it falls back to names.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from vmlab.errors import HostError, UsageError
from vmlab.lustre.lnetconf import Lnet
from vmlab.lustre.target import Target, nid_list
from vmlab.topology import FileSystem, TargetSpec, Topology
from vmlab.topology.select import powered
from vmlab.values.nid import Nid
from vmlab.values.nodeset import fold

POWER = "vmlab-power"
"""The command that powers nodes of its own bed, on the node that runs the tests."""

RUNAS_ID = 500
USERS = ("quota_usr", "quota_2usr", "sanityusr", "sanityusr1")
MPI_USER = "mpiuser"
"""The framework's default users, which it expects on all nodes; RUNAS_ID is a user's and a group's number."""

_PDSH = "pdsh -S -Rssh -w"
"""Without -S no status of a remote command arrives."""
_SSH = (
    "-oControlMaster=auto",
    "-oControlPersist=600",
    "-oControlPath=/run/vmlab-pdsh-%C",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
)
"""For pdsh: one connection to each node. The framework asks the nodes for each little thing anew, thousands of times,
and most of what that takes is ssh's handshake. The connection to a node whose power went ends within 20 s."""
_FILES = 4096
"""Open files. pdsh closes, before it begins ssh, each number that one may have, one by one: the million that many sites
and images allow takes more than all else of a remote command. A test that needs more raises it: the hard one stays."""
_BASE = '. "$LUSTRE/tests/cfg/ncli.sh"'
_MOUNT_OPTIONS = ("user_xattr", "flock")
_KIND = {"MDT": "mds", "OST": "ost"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Choices:
    """What a bed does not say.

    `driver` runs the tests; None: the first client. `shared_directory` is one that all nodes have, and no Lustre;
    "" leaves the framework's own, which nobody shares. `failure_mode` None: HARD where targets have partners and the
    driver powers all their servers. `variables` are written last, as the user wants them.
    """

    driver: str | None = None
    shared_directory: str = ""
    failure_mode: Literal["SOFT", "HARD"] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


_NO_CHOICES = Choices()


def tested(topology: Topology) -> FileSystem:
    """The file system that tests are for: the first one that is the bed's own. Raises UsageError if there is none."""
    own = [each for each in topology.filesystems.values() if not each.external]
    if not own:
        raise UsageError(
            f"{topology.name} has no file system of its own: the tests format what they run on",
            hint="filesystems: {lustre: {mgt: ..., mdts: ..., osts: ...}} in the topology",
        )
    return own[0]


def driver_of(topology: Topology, wanted: str | None = None) -> str:
    """The node that runs the tests: the `wanted` one, or the first client. Raises UsageError."""
    clients = tested(topology).clients
    if wanted is not None and wanted not in topology.nodes:
        raise UsageError(f"{topology.name} has no node {wanted}", hint=", ".join(topology.nodes))
    if wanted is None and not clients:
        name = tested(topology).name
        raise UsageError(f"no node is a client of {name}, and one has to run the tests", hint=f"{name}: clients: NODES")
    return wanted or clients[0]


def failure_mode(topology: Topology, driver: str) -> Literal["SOFT", "HARD"]:
    """HARD where servers of pairs, all of them, can lose their power and come back, because the driver says so."""
    pairs = {
        server
        for one in topology.targets
        if one.fsname == tested(topology).name and len(one.servers) > 1
        for server in one.servers
    }
    return "HARD" if pairs and pairs <= _powered(topology, driver) else "SOFT"


def _powered(topology: Topology, driver: str) -> frozenset[str]:
    """The nodes that the driver can power. A machine that is no guest has no way to ask."""
    roles = {name: node.roles for name, node in topology.nodes.items()}
    node = topology.nodes.get(driver)
    return frozenset() if node is None else frozenset(powered(driver, node.powers or "", roles))


def lustre_cfg(
    topology: Topology, targets: Mapping[str, Target], configs: Mapping[str, Lnet], choices: Choices = _NO_CHOICES
) -> str:
    """The text; `targets` are the topology's, `configs` the LNet configurations of its nodes.

    Raises UsageError if the bed has nothing to test, HostError for what the framework has no words for.
    """
    writer = _Writer(topology, targets, configs, choices)
    return "\n".join([*writer.lines(), ""])


class _Writer:
    def __init__(
        self, topology: Topology, targets: Mapping[str, Target], configs: Mapping[str, Lnet], choices: Choices
    ) -> None:
        self._topology = topology
        self._targets = targets
        self._configs = configs
        self._choices = choices
        self._fs = tested(topology)
        self._driver = driver_of(topology, choices.driver)
        self._specs = [target for target in topology.targets if target.fsname == self._fs.name]
        self._facets = {
            f"{facet}{number}": spec
            for kind, facet in _KIND.items()
            for number, spec in enumerate(sorted(self._of(kind), key=lambda one: one.index), start=1)
        }
        self._mgs, self._mgsnid = self._managed()

    def lines(self) -> Iterator[str]:
        others = [name for name in self._topology.filesystems if name != self._fs.name]
        yield f"# The bed {self._topology.name} for Lustre's tests, by vmlab: auster -c THIS_FILE"
        if others:
            yield f"# The framework knows one file system. Not in here: {', '.join(others)}"
        yield from ("", *self._names(), "", *self._servers(), "", *self._facet_lines(), "", *self._network())
        yield from ("", *self._clients(), "", *self._failures(), "", _BASE, "")
        yield "# The framework has defaults for these, where they are empty."
        yield from self._sizes()
        yield from ("", *self._nid_function())
        if self._choices.variables:
            yield ""
            yield from (f"export {_set(name, value)}" for name, value in self._choices.variables.items())

    def _names(self) -> Iterator[str]:
        options = [*_MOUNT_OPTIONS, *filter(None, self._fs.mount_options.split(","))]
        yield _set("FSNAME", self._fs.name)
        yield _set("FSTYPE", self._fs.backend)
        yield _set("MOUNT", self._fs.mount)
        yield _set("MOUNT2", f"{self._fs.mount}2")
        yield _set("MOUNT_OPTS", ",".join(dict.fromkeys(options)))
        if self._fs.mkfs_options:
            yield _set(f"{self._fs.backend.upper()}_MKFS_OPTS", self._fs.mkfs_options)

    def _servers(self) -> Iterator[str]:
        """Where nothing says otherwise; and the MGS, which has a device only if that is not MDT0000's."""
        yield _set("mds_HOST", self._facets["mds1"].servers[0])
        yield _set("ost_HOST", self._facets["ost1"].servers[0])
        yield _set("mgs_HOST", self._mgs[0])
        if len(self._mgs) > 1:
            yield _set("mgsfailover_HOST", self._mgs[1])
        if spec := next((one for one in self._of("MGT") if one.label in self._targets), None):
            yield from self._device("MGS", "", spec)
        yield _set("MDSCOUNT", str(len(self._of("MDT"))))
        yield _set("OSTCOUNT", str(len(self._of("OST"))))

    def _facet_lines(self) -> Iterator[str]:
        for facet, spec in self._facets.items():
            number = facet[3:]
            yield _set(f"{facet}_HOST", spec.servers[0])
            if len(spec.servers) > 1:
                yield _set(f"{facet}failover_HOST", spec.servers[1])
            yield from self._device(facet[:3].upper(), number, spec)
            if spec.kind == "OST" and spec.index != int(number) - 1:
                yield _set(f"OSTINDEX{number}", str(spec.index))
            if spec.kind == "MDT" and spec.index != int(number) - 1:
                raise HostError(
                    f"{spec.label} is MDT {number} of {self._fs.name}: the test framework numbers MDTs without gaps",
                    hint="leave no index out",
                )

    def _device(self, what: str, number: str, spec: TargetSpec) -> Iterator[str]:
        """In memory there is none; ZFS has it as its vdev, and calls the dataset by the framework's own name."""
        if disk := self._targets[spec.label].disk:
            yield _set(f"{what}DEV{number}", disk)

    def _network(self) -> Iterator[str]:
        yield _set("NETTYPE", self._net)
        yield _set("MGSNID", self._mgsnid)

    def _clients(self) -> Iterator[str]:
        others = [name for name in self._fs.clients if name != self._driver]
        yield _set("CLIENT1", self._driver)
        yield _set("RCLIENTS", " ".join(others))
        yield f"ulimit -Sn {_FILES} 2>/dev/null || :  # pdsh closes each that may be open"
        yield _set("PDSH", _PDSH)
        yield f"export {_set('PDSH_SSH_ARGS_APPEND', ' '.join(_SSH))}"
        yield _set("LOAD_MODULES_REMOTE", "true")
        yield _set("RUNAS_ID", str(RUNAS_ID))
        yield _set("QUOTA_USERS", " ".join(USERS))
        yield _set("MPI_USER", MPI_USER)
        if self._choices.shared_directory:
            yield _set("SHARED_DIRECTORY", self._choices.shared_directory)

    def _failures(self) -> Iterator[str]:
        yield _default("FAILURE_MODE", self._choices.failure_mode or failure_mode(self._topology, self._driver))
        if _powered(self._topology, self._driver):
            yield _default("POWER_DOWN", f"{POWER} --off")
            yield _default("POWER_UP", f"{POWER} --on")
        else:
            yield f"# {self._driver} can power no node: no POWER_DOWN. `powers` of the topology lets it."

    def _sizes(self) -> Iterator[str]:
        """In KiB; the least of a kind, because the framework has one for all. A disk's that is given is not known."""
        for what, kind in (("MGSSIZE", "MGT"), ("MDSSIZE", "MDT"), ("OSTSIZE", "OST")):
            sizes = [one.size for one in self._of(kind) if one.label in self._targets]
            known = [size for size in sizes if size is not None]
            yield _set(what, str(min(known) // 1024) if known and len(known) == len(sizes) else "")

    def _nid_function(self) -> Iterator[str]:
        """The framework asks it for partners' NIDs when it formats; a host that it does not know goes its own way."""
        yield "# NIDs by host, which the framework would guess."
        yield "h2nettype() {"
        yield '\tcase "$1" in'
        for node, config in self._configs.items():
            if nids := [nid for nid in config.nids if nid.net == self._net]:
                yield f"\t{shlex.quote(node)}) echo {shlex.quote(nid_list(nids))} ;;"
        yield '\t*) h2name_or_ip "$1" "${NETTYPE:-$2}" ;;'
        yield "\tesac"
        yield "}"

    def _of(self, kind: str) -> list[TargetSpec]:
        return [one for one in self._specs if one.kind == kind]

    @property
    def _net(self) -> str:
        return self._mgsnid.partition("@")[2].partition(":")[0].partition(",")[0]

    def _managed(self) -> tuple[Sequence[str], str]:
        """The MGS's servers, and all NIDs of each that every server and client reaches."""
        if not self._of("MDT") or not self._of("OST"):
            raise UsageError(f"{self._fs.name} has no MDT, or no OST: there is nothing to test")
        specs = [*self._of("MGT"), *(one for one in self._topology.targets if one.kind == "MGT")]
        if not specs:
            raise UsageError(f"nobody is the MGS of {self._fs.name}")
        if specs[0].fsname != self._fs.name:
            raise HostError(
                f"the MGS of {self._fs.name} is {specs[0].fsname}'s: the test framework wants one of its own",
                hint=f"{self._fs.name}: mgt: {{servers: ...}} in the topology",
            )
        involved = {server for one in self._specs for server in one.servers} | {*self._fs.clients, self._driver}
        servers = [
            [nid for nid in self._configs[name].nids if self._reached(nid, involved)] for name in specs[0].servers
        ]
        if not any(servers):
            raise HostError(
                f"no NID of the MGS of {self._fs.name} is reached by all of {fold(involved)}",
                hint="give all of them a common fabric with `lnet`, or routers between",
            )
        return specs[0].servers, ":".join(nid_list(nids) for nids in servers if nids)

    def _reached(self, nid: Nid, involved: set[str]) -> bool:
        return all(nid in self._configs[node].nids or self._configs[node].reaches(nid) for node in involved)


def _set(name: str, value: str) -> str:
    """Raises UsageError for what is no variable's name: it would be a command."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r:.60} is no name of a variable")
    return f"{name}={shlex.quote(value)}"


def _default(name: str, value: str) -> str:
    """So that the environment of one run may say otherwise."""
    return f"{name}=${{{name}:-{shlex.quote(value)}}}"
