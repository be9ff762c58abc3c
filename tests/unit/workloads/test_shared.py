"""What workloads share: pairs, MPI's start, programs that are missing, JSON between other things."""

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import UsageError, WorkloadError
from vmlab.runtime import process
from vmlab.workloads import Endpoint, Node
from vmlab.workloads._install import require, tools
from vmlab.workloads._json import document, documents
from vmlab.workloads._mpirun import Mpi, found, mpi
from vmlab.workloads._nodes import interface
from vmlab.workloads._pairs import Wanted, pairs

# Pairs ---------------------------------------------------------------------------------------------------------------

KINDS = {"mgmt": "management", "ib0": "infiniband", "eth": "ethernet"}
TCP = ("infiniband", "ethernet", "management")


def node(name: str, *fabrics: str, facts: dict[str, str] | None = None) -> Node:
    places = tuple(Endpoint(f, KINDS[f], IPv4Address("10.0.0.1"), f) for f in fabrics)
    return Node(name, (name.rstrip("0123456789"),), places, facts or {})


BED = [node("oss1", "mgmt", "ib0"), node("oss2", "mgmt", "eth"), node("client1", "mgmt", "ib0", "eth")]


def acting(*nodes: Node, **wanted: object) -> list[tuple[str, str, str]]:
    options: dict[str, object] = {"actors": None, "targets": None, "fabric": None, "kinds": TCP} | wanted
    return [(one.name, other.name, fabric) for one, other, fabric in pairs("w", Wanted(**options), nodes or BED)]  # type: ignore[arg-type]


def test_each_server_acts_on_the_first_client_over_the_best_fabric_that_both_are_on() -> None:
    assert acting() == [("oss1", "client1", "ib0"), ("oss2", "client1", "eth")]
    assert acting(kinds=("infiniband",)) == [("oss1", "client1", "ib0")]
    assert acting(kinds=("management",)) == [("oss1", "client1", "mgmt"), ("oss2", "client1", "mgmt")]
    assert acting(fabric="mgmt", both=True)[1] == ("client1", "oss1", "mgmt")
    assert acting(actors="client1", targets="oss[1-2]") == [("client1", "oss1", "ib0"), ("client1", "oss2", "eth")]
    alike = [node(name, "mgmt") for name in ("n1", "n2", "n3")]
    assert acting(*alike) == [("n1", "n2", "mgmt"), ("n1", "n3", "mgmt")]


def test_pairs_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="w: no fabric 'ib1'"):
        acting(fabric="ib1")
    with pytest.raises(WorkloadError, match="oss1 and oss2 are not both on an InfiniBand or Ethernet fabric"):
        acting(actors="oss1", targets="oss2", kinds=("infiniband", "ethernet"))
    with pytest.raises(WorkloadError, match="no pair of nodes to measure is on an InfiniBand fabric"):
        acting(BED[1], BED[2], kinds=("infiniband",))


# MPI -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in PATH with programs in place of a guest's, and the shell's own tools."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


OPEN_MPI = "echo 'mpirun (Open MPI) 4.1.4'; echo; echo 'Report bugs to http://www.open-mpi.org/community/help/'"
HYDRA = "echo 'HYDRA build details:'; echo '    Version:                                 4.0.2'"


def said(guest: Path, tool: str = "bench") -> Node:
    text = process.run(mpi(tool), deadline_s=30).stdout
    lines = [line for line in text.splitlines() if not line.startswith("mpirun") or str(guest) in line]
    return Node("n1", facts={"mpi": "\n".join(lines)})


@pytest.mark.parametrize(("wants", "kind"), [("ompi_mpi_comm_world", "openmpi"), ("libmpich.so.12", "mpich")])
def test_a_program_runs_under_the_mpi_that_it_was_built_for(guest: Path, wants: str, kind: str) -> None:
    program(guest / "bench", f": {wants}")
    program(guest / "mpirun", OPEN_MPI)
    program(guest / "mpirun.openmpi", OPEN_MPI)
    program(guest / "mpirun.mpich", HYDRA)
    which = {"openmpi": "mpirun", "mpich": "mpirun.mpich"}[kind]
    assert found("w", "bench", [said(guest)]) == Mpi(f"{guest}/bench", f"{guest}/{which}", kind)


def test_debian_s_alternative_may_be_either(guest: Path) -> None:
    program(guest / "bench", ": libmpi.so.12")
    program(guest / "mpirun", HYDRA)
    assert found("w", "bench", [said(guest)]).kind == "mpich"
    program(guest / "bench", ": ompi_mpi_comm_world")
    with pytest.raises(WorkloadError, match="w: n1 has no mpirun") as caught:
        found("w", "bench", [said(guest)])
    assert "use an image that carries mpirun" in caught.value.hint
    with pytest.raises(WorkloadError, match="w: n1 has no other"):
        found("w", "other", [said(guest, "other")])


def test_nodes_must_have_it_in_one_place() -> None:
    facts = "program {}\nbuilt openmpi\nmpirun openmpi /usr/lib64/openmpi/bin/mpirun\n"
    nodes = [Node(f"n{i}", facts={"mpi": facts.format(path)}) for i, path in enumerate(("/a/b", "/c/b"))]
    with pytest.raises(WorkloadError, match="w: the nodes have b in different places: /a/b, /c/b"):
        found("w", "b", nodes)
    assert found("w", "b", [nodes[0], nodes[0]]).mpirun == "/usr/lib64/openmpi/bin/mpirun"
    with pytest.raises(WorkloadError, match="w: n1 has no b"):
        found("w", "b", [nodes[0], Node("n1")])


def test_commands_of_both() -> None:
    tasks = {"n1": 2, "n2": 1}
    assert " ".join(Mpi("/b", "/usr/bin/mpirun", "openmpi").start(tasks, "ib0", ("/b", "-x"))) == (
        "/usr/bin/mpirun --allow-run-as-root -x VMLAB_RUN --mca btl_tcp_if_include ib0 --mca oob_tcp_if_include ib0 "
        "--bind-to core:overload-allowed --host n1:2,n2:1 -np 3 /b -x"
    )
    assert " ".join(Mpi("/b", "/usr/bin/mpirun.mpich", "mpich").start(tasks, "ib0", ("/b",))) == (
        "/usr/bin/mpirun.mpich -launcher ssh -iface ib0 -hosts n1:2,n2:1 -n 3 /b"
    )
    # RHEL's libraries are where only `module load` finds them.
    assert " -genv LD_LIBRARY_PATH /usr/lib64/mpich/lib " in " ".join(
        Mpi("/b", "/usr/lib64/mpich/bin/mpirun", "mpich").start(tasks, "ib0", ("/b",))
    )


def test_the_interface_of_a_fabric_is_that_of_all() -> None:
    assert interface("w", "mgmt", BED) == "mgmt"
    with pytest.raises(WorkloadError, match="w: oss2 is not on the fabric 'ib0'"):
        interface("w", "ib0", BED)


# Tools ---------------------------------------------------------------------------------------------------------------


def test_tools_are_asked_for_and_who_has_none_is_named_with_what_brings_it() -> None:
    text = process.run(tools("sh", "no-such-tool", "cat"), deadline_s=30).stdout
    assert text == "sh\ncat\n"
    nodes = [node("n1", facts={"tools": text}), node("n2", facts={"system": "ID=debian\n"}), node("n3")]
    require("w", "cat", nodes[:1])
    with pytest.raises(WorkloadError, match=r"w: n\[2-3\] have no cat") as caught:
        require("w", "cat", nodes, of="perftest")
    assert caught.value.hint == "use an image that carries perftest, or in the guest: apt-get install perftest"


# JSON ----------------------------------------------------------------------------------------------------------------


def test_a_report_is_found_between_other_things() -> None:
    report = '{\n  "jobs": [{"iops": 5}],\n  "x": {\n}\n}'
    assert document("fio", f"fio: warning {{\n{{broken\n{report}\nfio: it {{ ended }}\n") == {
        "jobs": [{"iops": 5}],
        "x": {},
    }
    assert str(document("t", '{"a": -nan, "b": nan, "c": [inf]}')) == "{'a': nan, 'b': nan, 'c': [inf]}"
    assert document("t", '{"said": ": nan,"}') == {"said": ": nan,"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "t's report is not there"),
        ("t: cannot {\n", "t's report is not there"),
        ('{\n "jobs": [\n  {"a": 1},\n', "t's report is cut off"),
        ('{"a": 1}\n{"a": 2}\n', "t printed 2 reports, and one was asked for"),
    ],
)
def test_no_report_half_a_report_and_two(text: str, why: str) -> None:
    with pytest.raises(WorkloadError, match=why):
        document("t", text)


@given(st.text(alphabet='{}[]":,\n naif0-é\\'))
def test_any_text_has_documents_or_none(text: str) -> None:
    assert all(isinstance(found, dict) for found in documents(text))
