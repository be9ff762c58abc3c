"""How an MPI job is started, and what mpirun, mpiexec and srun say when it did not end well.

It is started on one node, whose mpirun reaches the others by ssh. A program runs under the MPI that it was built for:
Open MPI or MPICH, whose mpirun is hydra; a guest may have both.

Open MPI's ORTE (until 4) and PRRTE (from 5) put each message into a box of its own, between rules of dashes; several
boxes come for one failure, and the later ones tell what followed. MPICH's hydra draws with equals signs. A program's
own words stand outside of the boxes. Texts: orte and prrte `help-*.txt`, mpich `src/pm/hydra`, slurm `src/srun`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from vmlab.errors import WorkloadError
from vmlab.shell import script
from vmlab.steps import Command
from vmlab.values.complaint import first_complaint
from vmlab.values.cpuset import cpu_list
from vmlab.workloads import MARK, Node
from vmlab.workloads._causes import cause, matched
from vmlab.workloads._install import refuse

_FIND = script(__file__, "mpi_find.sh")

_RULE = re.compile(r"^\s*[-=]{20,}\s*$")
_LONGEST = 300
_ENOUGH = 180
_DETAILS = re.compile(
    r"^\s*(?P<name>Node|Local host|Remote host|Remote daemon|Host|Hostname|Executable|Application name|File|Filename|"
    r"Error|Error name|Reason|Exit code|Signal|Local device|Interface|Value|Value given|Location|Command|Message)"
    r"\s*:\s*(?P<value>\S.*?)\s*$",
)

# Boxes that tell what became of a job whose cause is said elsewhere, if it is said at all.
_FOLLOWS = re.compile(
    r"terminated normally, but \d+ process|exited with non-zero status|returned a non-zero exit code|"
    r"MPI_ABORT was invoked|has exited due to process rank|exiting improperly|exited on signal|"
    r"It looks like (?:orte|prte|opal|MPI|ompi|PMIx)\w*_init\w* failed|"
    r"BAD TERMINATION OF ONE OF YOUR APPLICATION|lost communication with (?:a remote|its) daemon|"
    r"unable to reliably start one or more daemons|daemon (?:has )?unexpectedly failed|"
    r"job (?:has been|is being) (?:aborted|terminated)|A process or daemon was unable to complete a TCP connection",
    re.IGNORECASE,
)
_HARMLESS = re.compile(
    r"^\s*WARNING\b|^\s*By default, for Open MPI|call to fork\(\)|deprecated|"
    r"A requested component was not found, or was unable to be opened.*(?:openib|ucx)|Failed to create a queue pair",
    re.IGNORECASE | re.DOTALL,
)

# The first row that fits counts: what the programs and ssh say is nearer to the cause than mpirun's boxes.
_KNOWN = (
    (r"ssh: connect to host (\S+) port \d+: ([^\n]+)", "mpirun cannot reach {} by ssh: {}"),
    (r"ssh: Could not resolve hostname (\S+?):? ([^\n]+)", "mpirun's ssh does not know the host {}: {}"),
    (
        r"(Permission denied)(?: \((?:publickey|password|keyboard|gssapi|hostbased)|, please try)",
        "mpirun's ssh from the first node to the others: {}",
    ),
    (r"(Host key verification failed)\.", "mpirun's ssh from the first node to the others: {}"),
    (r"There are not enough slots available", "mpirun finds too few slots for the tasks"),
    (r"execvp error on file (\S+) \(([^)]+)\)", "{} cannot be run: {}"),
    (r"execve\(\): (\S+): ([^\n]+)", "{} cannot be run: {}"),
    (
        r"could not (?:find|access\s+or execute) an executable(?:.*\n){1,4}?Executable:\s*(\S+)\n(?:\s*Node:\s*(\S+))?",
        "a node has no {} ({})",
    ),
    (r"Detected \d+ oom[_-]kill event", "a task was killed for want of memory (srun says: oom_kill)"),
    (r"CANCELLED AT \S+ (DUE TO [A-Z ]+)", "srun's job was cancelled {}"),
)
# When nothing tells the cause these say at least what became of it.
_ENDS = (
    (
        r"rank (\d+)(?: with PID \S+)? on node (\S+) exited\s+on\s+signal (\d+)(?: \(([^)]+)\))?",
        "task {} on {} was ended by signal {} ({})",
    ),
    (
        r'looks like (\w+) failed[\s\S]*?\n\n\s+(\S[^\n]*)\n\s+--> Returned (?:value )?"?([^"\n]+?)"? \(-?\d+\)',
        "{} failed: {}: {}",
    ),
    (
        r"PID \d+ RUNNING AT (\S+)\n=\s+EXIT CODE: (\d+)[\s\S]*?EXIT STRING: ([^\n(]+?) \(signal \d+\)",
        "a task on {} ended with exit code {}: {}",
    ),
    (r"PID \d+ RUNNING AT (\S+)\n=\s+EXIT CODE: (\d+)", "a task on {} ended with exit code {}"),
    (r"srun: error: (\S+): tasks? (\S+): ([^\n]+)", "task {1} on {0}: {2}"),
    (r"MPI_ABORT was invoked on rank (\d+)[\s\S]*?with errorcode (-?\d+)", "task {} gave up with the error code {}"),
)


# Traces of MPI, and notes of mpirun about its boxes.
_NOTES = re.compile(
    r"\s*\[[^\]\s]+:\d+\] |\s*\[(?:mpiexec|proxy)[:@]|.*_ERROR_LOG|YOUR APPLICATION|"
    r"\d+ more process(?:es)? (?:has|have) sent help message"
)


def mpi(program: str) -> Command:
    """The fact command, under the name `mpi`, that `found` reads."""
    return ("sh", "-c", _FIND, "vmlab", program)


class Mpi(NamedTuple):
    """Where a program is on all nodes, and the mpirun of the first one for it; `kind` is "openmpi" or "mpich".

    `cpus`: all tasks run on the host itself, on these.
    """

    program: str
    mpirun: str
    kind: str
    cpus: tuple[int, ...] = ()

    def start(self, tasks: Mapping[str, int], interface: str, argv: Command) -> Command:
        """Run `argv` with so many tasks on each node; MPI's messages go over `interface`."""
        hosts = ",".join(f"{node}:{number}" for node, number in tasks.items())
        total = str(sum(tasks.values()))
        if self.cpus:
            slots = ("--allow-run-as-root", "-x", MARK, "--oversubscribe", "--bind-to", "none")
            how = slots if self.kind == "openmpi" else ()
            return ("taskset", "-c", cpu_list(self.cpus), self.mpirun, *how, "-n", total, *argv)
        if self.kind == "mpich":
            libraries = str(PurePosixPath(self.mpirun).parent.with_name("lib"))
            own = ("-genv", "LD_LIBRARY_PATH", libraries) if "mpich" in libraries else ()
            return (self.mpirun, "-launcher", "ssh", "-iface", interface, *own, "-hosts", hosts, "-n", total, *argv)
        devices = ("--mca", "btl_tcp_if_include", interface, "--mca", "oob_tcp_if_include", interface)
        # A task has a core, where there are enough; by itself Open MPI refuses more tasks than a node has CPUs.
        bound = ("--bind-to", "core:overload-allowed")
        return (self.mpirun, "--allow-run-as-root", "-x", MARK, *devices, *bound, "--host", hosts, "-np", total, *argv)


def found(workload: str, program: str, nodes: Sequence[Node]) -> Mpi:
    """What the nodes' facts say. Raises WorkloadError if one lacks the program or its MPI, or has it elsewhere."""
    said = {
        node.name: [tuple(line.split(None, 2)) for line in node.facts.get("mpi", "").splitlines()] for node in nodes
    }
    places = {name: next((words[1] for words in lines if words[0] == "program"), "") for name, lines in said.items()}
    refuse(workload, program, [node for node in nodes if not places[node.name]])
    if len(set(places.values())) > 1:
        raise WorkloadError(
            f"{workload}: the nodes have {program} in different places: {', '.join(sorted(set(places.values())))}"
        )
    built = next((words[1] for words in said[nodes[0].name] if words[0] == "built"), "")
    runs = {name: {w[1]: w[2] for w in reversed(lines) if w[0] == "mpirun"} for name, lines in said.items()}
    kind = built or next(iter(sorted(runs[nodes[0].name], reverse=True)), "openmpi")
    without = [node for node in nodes if kind not in runs[node.name]]
    refuse(workload, {"openmpi": "mpirun", "mpich": "mpirun.mpich"}[kind], without)
    cpus = sorted({cpu for node in nodes for cpu in node.cpus})
    return Mpi(places[nodes[0].name], runs[nodes[0].name][kind], kind, tuple(cpus))


class _Parts(NamedTuple):
    boxes: list[str]
    outside: list[str]


def explain(stderr: str, stdout: str) -> str:
    """Why, in one line; "" if nothing is said. A program's own format of errors is its workload's to know."""
    text = f"{stderr}\n{stdout}"
    parts = _apart(text)
    if known := matched(_KNOWN, text):
        return known.replace(" ()", "")
    outside = "\n".join(parts.outside)
    telling = [box for box in parts.boxes if not _FOLLOWS.search(box) and not _HARMLESS.search(box)]
    stack = re.search(r"Fatal error in \w+:.*\n(?:.*\n)*?((?:\w+\(\d+\)\.*:? .+\n?)+)", outside)
    if stack:
        return f"MPI: {stack[1].strip().splitlines()[-1].partition(':')[2].strip() or stack[1].splitlines()[-1]}"
    if died := _program(parts.outside):
        return died
    if telling:
        return _sentence(telling[0])
    if ended := matched(_ENDS, text):
        return ended.replace(" ()", "")
    following = [_sentence(box) for box in parts.boxes if not _HARMLESS.search(box)]
    return "; ".join(dict.fromkeys(following))[:_LONGEST] or cause(outside)


def _program(outside: list[str]) -> str:
    """What the program itself complains of."""
    own = [line for line in outside if not _NOTES.match(line)]
    return cause("\n".join(own)) if first_complaint(own) else ""


def _apart(text: str) -> _Parts:
    """The boxes, and what stands outside of them. A rule that nothing closes is none."""
    boxes: list[str] = []
    outside: list[str] = []
    inside: list[str] | None = None
    for line in text.splitlines():
        if not _RULE.match(line):
            (outside if inside is None else inside).append(line)
        elif inside is None:
            inside = []
        elif any(re.search(r"\w", said) for said in inside):
            boxes.append("\n".join(inside))
            inside = None
        # Two rules with nothing between: the second begins a box.
    outside += inside or []
    return _Parts(boxes, outside)


def _sentence(box: str) -> str:
    """Its first paragraph in one line, and those of its details that name what it was about."""
    lines = [line.strip(" =|*") for line in box.strip().splitlines()]
    first: list[str] = []
    for line in lines:
        if not line and first:
            break
        if line and not _DETAILS.match(line):
            first.append(line)
    details = ", ".join(_details(lines))
    said = _short(" ".join(" ".join(first).split()).rstrip(":").removesuffix("."))
    return (f"{said} ({details})" if details else said)[:_LONGEST]


def _short(paragraph: str) -> str:
    """Two sentences, or one where that is long already."""
    sentences = re.split(r"(?<=[.!?;]) +(?=[A-Z])", paragraph)
    return " ".join(sentences[: 2 if len(" ".join(sentences[:2])) < _ENOUGH else 1]).removesuffix(".")


def _details(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if (found := _DETAILS.match(line)) and found["value"] not in ("(null)", "[0]"):
            yield f"{found['name']}: {found['value']}"
