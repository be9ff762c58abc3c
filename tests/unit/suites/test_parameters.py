"""`Test-Parameters:` lines, most of them of commits to Lustre."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmlab.errors import UsageError
from vmlab.suites.auster import GROUPS, Part, command, suites_of
from vmlab.suites.parameters import Session, Wanted, lacking, sessions
from vmlab.suites.shape import Shape


def only(text: str) -> Session:
    (session,) = sessions(text)
    return session


def test_a_failover_session() -> None:
    session = only(
        "Test-Parameters: trivial   env=SLOW=yes,FAILURE_MODE=HARD,ONLY=136   clientcount=4 mdtcount=1 mdscount=2 "
        "osscount=2   austeroptions=-R failover=true iscsi=1   fstype=ldiskfs testlist=recovery-small"
    )
    assert session.problems == ()
    assert session.wanted == Wanted(mdts=1, mds=2, oss=2, clients=4, backend="ldiskfs", pairs=True)
    assert session.parts == (Part("recovery-small", only=("136",)),)
    assert session.environment == {"SLOW": "yes", "FAILURE_MODE": "HARD"}
    assert session.auster == ("-R",)


@pytest.mark.parametrize(
    ("written", "tests", "environment"),
    [
        ('env=ONLY="17 65",HONOR_EXCEPT=true', ("17", "65"), {"HONOR_EXCEPT": "true"}),
        ("env='ONLY=17 65'", ("17", "65"), {}),
        ("env=ONLY=210,211,216", ("210", "211", "216"), {}),
        ("env=ONLY=413a,413b,ONLY_REPEAT=10", ("413a", "413b"), {"ONLY_REPEAT": "10"}),
        ('env=ONLY="155-164"', ("155-164",), {}),
        ('env=SANITY_EXCEPT="101g 102i"', (), {"SANITY_EXCEPT": "101g 102i"}),
        ('envdefinitions=PTLDEBUG="+sec"', (), {"PTLDEBUG": "+sec"}),
        (r"env=A=one\ two,B=\"x\"", (), {"A": "one two", "B": '"x"'}),
        ('env=A="a,b",B=c', (), {"A": "a,b", "B": "c"}),
        ("env=A=x=y", (), {"A": "x=y"}),
        ("env=A=,B=1", (), {"A": "", "B": "1"}),
    ],
)
def test_variables(written: str, tests: tuple[str, ...], environment: dict[str, str]) -> None:
    session = only(f"Test-Parameters: testlist=sanity {written}")
    assert session.problems == ()
    assert session.parts == (Part("sanity", only=tests),)
    assert session.environment == environment


MESSAGE = r"""LU-12345 llite: do something

A body that says testlist=nothing of sessions.

Test-Parameters: trivial fstype=zfs mdtcount=4 mdscount=2 \
  clientdistro=el10.2 serverversion=2.16 \
  testlist=sanity,sanityn.sh,sanity
test-parameters: optional testgroup=regression-mpi
Test-Parameters: forbuildonly
Signed-off-by: Nobody <nobody@example.com>
Change-Id: I0
"""


def test_a_commit_message_has_several_sessions() -> None:
    first, second, third = sessions(MESSAGE)
    assert first.wanted == Wanted(
        mdts=4, mds=2, backend="zfs", images={"clientdistro": "el10.2", "serverversion": "2.16"}
    )
    assert [part.suite for part in first.parts] == ["sanity", "sanityn", "sanity"]  # twice is twice
    assert [part.suite for part in second.parts] == list(GROUPS["regression-mpi"])
    assert (third.parts, third.problems) == ((), ())
    assert not any(session.problems for session in (first, second))


def test_without_the_words_each_line_is_one_and_windows_is_no_matter() -> None:
    assert [one.parts[0].suite for one in sessions("testlist=sanity\r\n\r\ntestlist=mmp \\\r\n mdscount=2\r\n")] == [
        "sanity",
        "mmp",
    ]
    assert sessions("") == ()
    assert only("testlist=mmp \\").parts == (Part("mmp"),)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("@lnet", "'@lnet' is not known"),
        ("trivail", "'trivail' is not known"),
        ("mdscnt=2", "the key 'mdscnt' is not known"),
        ("mdscount=two", "mdscount=two is no number of anything (expected 1 to 256)"),
        ("mdtcount=0", "mdtcount=0 is no number of anything (expected 1 to 256)"),
        ("mdtcount=999999999999", "mdtcount=999999999999 is no number of anything (expected 1 to 256)"),
        (
            "testgroup=full-dne-part-1",
            "the group 'full-dne-part-1' is not one of auster's (regression, regression-mpi)",
        ),
        ("env=nothing", "env: 'nothing' is no NAME=VALUE"),
        ("env=a-b=1", "env: 'a-b=1' is no NAME=VALUE"),
        ('env=A="x', 'a quote (") has no end'),
        ("testlist=../../bin/sh", "'../../bin/sh' is no name of a suite"),
        ("testlist=sanity env=ONLY='1;reboot'", "'1;reboot' is no name of a sub-test (expected one such as 27oo)"),
        ("mdtfilesystemtype=zfs ostfilesystemtype=ldiskfs", "several backends in one file system: zfs, ldiskfs"),
    ],
)
def test_what_is_not_known_is_named(written: str, problem: str) -> None:
    assert problem in only(f"Test-Parameters: {written}").problems


def test_keys_of_images_and_of_the_mgs() -> None:
    session = only(
        "clientarch=aarch64 serverjob=lustre-b2_15 serverbuildno=94 ossversion=2.15 standalonemgs=true kerberos=true"
    )
    assert session.problems == ()
    assert (session.wanted.separate_mgs, session.wanted.kerberos) == (True, True)
    assert set(session.wanted.images) == {"clientarch", "serverjob", "serverbuildno", "ossversion"}
    assert only("combinedmdsmgs=true").wanted.separate_mgs is False
    assert only("failover=false").wanted == Wanted()


BED = Shape(("mds1", "mds2"), ("oss1", "oss1"), 2, "ldiskfs", pairs=frozenset({"MDT"}), separate_mgs=True)


def test_what_a_bed_has_not() -> None:
    assert lacking(Wanted(mdts=2, mds=2, osts=1, oss=1, clients=2, backend="ldiskfs"), BED) == ()
    assert lacking(Wanted(mdts=4, oss=2, clients=3, backend="zfs", pairs=True, separate_mgs=False), BED) == (
        "it asks for 4 MDTs, and the bed has 2",
        "it asks for 2 OSS, and the bed has 1",
        "it asks for 3 clients, and the bed has 2",
        "it asks for zfs, and the bed has ldiskfs",
        "it asks for failover, and not all MDTs and OSTs of the bed have a partner",
        "it asks for an MGS on MDT0000, and the bed's is not",
    )


def test_austers_command_line() -> None:
    parts = (Part("sanity", ("27oo", "1"), ("42a",)), Part("mmp", start_at="2", stop_at="5"))
    assert command("/usr/lib/lustre/tests/auster", "/root/bed.sh", "/tmp/logs", parts, ("-r",)) == (
        *("/usr/lib/lustre/tests/auster", "-v", "-k", "-r", "-c", "/root/bed.sh", "-D", "/tmp/logs"),
        *("sanity", "--only", "27oo,1", "--except", "42a", "mmp", "--start-at", "2", "--stop-at", "5"),
    )
    assert suites_of("regression")[0] == "runtests"
    with pytest.raises(UsageError, match="no group of tests"):
        suites_of("review")


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    sessions(text)
    sessions(f"Test-Parameters: {text}")
