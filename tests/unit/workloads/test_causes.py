"""Why a command failed, out of all that it printed: texts from reports about the tools, and from their sources."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.workloads import Output
from vmlab.workloads._causes import cause
from vmlab.workloads._mpirun import explain
from vmlab.workloads.ior import Ior

CASES = Path(__file__).parents[2] / "cases" / "mpirun"
ABORTED = (
    "Primary job terminated normally, but 1 process returned a non-zero exit code. Per user-direction, the job has "
    "been aborted; mpirun detected that one or more processes exited with non-zero status, thus causing the job to be "
    "terminated. The first process to do so was (Exit code: 2)"
)
SAID = {
    "hydra-killed": "a task on n1 ended with exit code 9: Killed",
    "hydra-no-executable": "./iorr cannot be run: No such file or directory",
    "ior-first": "open64() failed, errno 13, Permission denied",
    "mpich-init": "MPI: OFI endpoint open failed (ofi_init.c:1892:create_endpoint:Cannot allocate memory)",
    "openmpi-4-abort": "task 0 gave up with the error code -1",
    "openmpi-4-init": "MPI_INIT failed: PML add procs failed: Unreachable",
    "openmpi-4-job-aborted": ABORTED,
    "openmpi-4-no-executable": "a node has no /usr/local/bin/ior (client2)",
    "openmpi-4-no-executable-found": "mpirun was unable to find the specified executable file, and therefore did not "
    "launch the job (Node: c1, Executable: iorr)",
    "openmpi-4-no-library": "/usr/local/bin/ior needs the library libmpi.so.40, which is absent",
    "openmpi-4-no-oob-interface": "No network interfaces were found for out-of-band communications. We require at "
    "least one available network for out-of-band messaging",
    "openmpi-4-root": "mpirun has detected an attempt to run as root",
    "openmpi-4-signal": "task 1 on runnervm7b5n9 was ended by signal 6 (Aborted)",
    "openmpi-4-unreachable": "At least one pair of MPI processes are unable to reach each other for MPI communications",
    "openmpi-4-warning": "ior: relocation error: x",
    "openmpi-4-warning-before": ABORTED,
    "openmpi-5-slots": "mpirun finds too few slots for the tasks",
    "prrte-lost": "PRTE has lost communication with a remote daemon "
    "(Remote daemon: [prterun-nid002944-1918870@0,1] on node nid003032)",
    "srun-exit": "srun: error: n2: task 1: Exited with exit code 2",
    "srun-oom": "a task was killed for want of memory (srun says: oom_kill)",
    "srun-refused": "srun: error: Unable to allocate resources: Invalid account or account/partition combination "
    "specified",
}


def test_every_text_has_its_explanation() -> None:
    assert sorted(SAID) == sorted(path.stem for path in CASES.glob("*.txt"))


@pytest.mark.parametrize("name", sorted(SAID))
def test_a_job_that_failed_is_explained_by_its_cause(name: str) -> None:
    text = (CASES / f"{name}.txt").read_text()
    assert Ior().explain(Output(1, "", text, 1.0)) == SAID[name]
    assert Ior().explain(Output(1, text, "", 1.0)) == SAID[name]


@pytest.mark.parametrize(
    ("stderr", "stdout", "said"),
    [
        ("", "", ""),
        ("----\n====\n", "", ""),
        ("", "one\ntwo\n", "two"),
        ("first: cannot open it\nsecond\nthird failed\n", "", "first: cannot open it"),
        ("Warning: it fails when it is late\nit failed\n", "", "it failed"),
        ("Warning: permanently added\n", "ERROR: disk is full\n", "ERROR: disk is full"),
        ("=   it could not be found   =\n=====================\n", "", "it could not be found"),
        ("make: *** [Makefile:3: all] Error 2\n", "", "make: *** [Makefile:3: all] Error 2"),
        (
            "timeout: failed to run command \u2018ior\u2019: No such file or directory\n",
            "",
            "ior cannot be run: No such file or directory",
        ),
        ("sh: 1: sha256sum: not found\n", "", "the guest has no sha256sum"),
    ],
)
def test_the_first_line_that_complains_is_the_cause(stderr: str, stdout: str, said: str) -> None:
    assert cause(stderr, stdout) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("root@client2: Permission denied (publickey,password).\n", "Permission denied"),
        ("Permission denied, please try again.\n", "Permission denied"),
        ("Host key verification failed.\r\n", "Host key verification failed"),
    ],
)
def test_ssh_from_node_to_node_is_named_for_what_it_says_and_for_nothing_else(text: str, said: str) -> None:
    rule = "-" * 74 + "\n"
    daemons = f"{rule}ORTE was unable to reliably start one or more daemons.\n{rule}"
    assert explain(text + daemons, "") == f"mpirun's ssh from the first node to the others: {said}"
    memory = (
        f"{rule}A system call failed during shared memory initialization that should\nnot have.\n\n"
        f"  Local host:  client1\n  System call: open(2)\n  Error:       Permission denied (errno 13)\n{rule}"
    )
    assert explain(memory, "") == (
        "A system call failed during shared memory initialization that should not have "
        "(Local host: client1, Error: Permission denied (errno 13))"
    )


@given(st.lists(st.sampled_from(["-" * 74, "=" * 80, "", "it failed", "{0}", "%s {", "Node: x"]) | st.text()))
def test_any_text_gives_one_line(lines: list[str]) -> None:
    text = "\n".join(lines)
    for said in (cause(text), explain(text, ""), explain("", text), Output(1, text, "", 1.0).cause):
        assert "\n" not in said
        assert len(said) < 1000
