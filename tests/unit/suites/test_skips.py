"""What a bed will skip, before the night."""

from dataclasses import replace

from vmlab.suites.cfg import POWER
from vmlab.suites.shape import FLAKEY, Shape, shape_of
from vmlab.suites.skips import Skip, skips
from vmlab.topology import loads

BED = """
name: ha
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio}
nodes:
  "mds[1-2]": {role: mds, memory: 512MiB, fabrics: [ib0]}
  "oss[1-2]": {role: oss, memory: 512MiB, fabrics: [ib0]}
  "client[1-3]": {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  lustre:
    mgt: {servers: [mds1, mds2], size: 256MiB}
    mdts: [{servers: [mds1, mds2], size: 1GiB}, {servers: [mds2], size: 2GiB}]
    osts: [{servers: [oss1, oss2], size: 2GiB, count: 2}, {servers: [oss2, oss1], size: 3GiB}]
"""
BIG = Shape(
    ("mds1", "mds2", "mds1", "mds2"),
    ("oss1",) * 8,
    3,
    "ldiskfs",
    pairs=frozenset({"MGT", "MDT", "OST"}),
    separate_mgs=True,
    shared=True,
)
SMALL = Shape(("mds1",), ("mds1", "mds1"), 1, "ldiskfs")


def told(suite: str, shape: Shape) -> dict[str, str]:
    return {test: skip.why for skip in skips([suite], shape) for test in skip.tests or ("",)}


def test_what_the_suites_see_of_a_bed() -> None:
    shape = shape_of(loads(BED, "ha.yaml"), shared=True)
    assert (shape.mdt_hosts, shape.ost_hosts) == (("mds1", "mds2"), ("oss1", "oss1", "oss2"))
    assert (shape.clients, shape.backend, shape.separate_mgs) == (3, "ldiskfs", True)
    assert shape.pairs == {"MGT", "OST"}


def test_a_bed_with_everything_skips_what_is_not_its_backends() -> None:
    suites = ["sanity", "mmp", "recovery-mds-scale", "replay-single", "sanity-hsm", "ost-pools", "recovery-small"]
    assert {skip.why for skip in skips(suites, BIG)} == {"zfs only, and the backend is ldiskfs"}
    assert told("replay-dual", replace(BIG, failure_mode="HARD")) == {}


def test_counts() -> None:
    sanity = told("sanity", SMALL)
    assert sanity["17n"] == "needs >= 2 MDTs, there is 1"
    assert sanity["27H"] == "needs >= 3 OSTs, there are 2"
    assert sanity["160v"] == "needs >= 2 clients, there is 1"
    assert "27b" not in sanity
    assert "1" not in sanity
    assert "24E" in sanity  # 4 MDTs
    assert "24E" not in told("sanity", BIG)


def test_hard_mode() -> None:
    hard = replace(BIG, failure_mode="HARD")
    together = replace(hard, mdt_hosts=("mds1", "mds1", "mds2", "mds2"))
    assert told("replay-single", together)["80a"] == "MDTs must be on different servers in HARD mode, and are on mds1"
    assert told("insanity", hard) == {"": "does not work with FAILURE_MODE=HARD"}
    powerless = skips(["recovery-small"], replace(hard, has={POWER: False}))
    assert powerless == (Skip("recovery-small", (), f"whatever fails a server: the driver node has no {POWER}"),)
    (alone,) = skips(["recovery-small"], replace(hard, pairs=frozenset({"OST"})))
    assert alone.fails
    assert "MDTs wait" in alone.why


def test_whole_suites() -> None:
    assert told("recovery-mds-scale", SMALL) == {"": "needs 3 or more clients, there are 1"}
    assert told("recovery-oss-scale", replace(BIG, shared=False)) == {
        "": "needs SHARED_DIRECTORY, which all nodes have"
    }
    assert told("mmp", SMALL) == {"": "failover pairs of MDTs and OSTs are needed"}
    assert told("mmp", replace(BIG, backend="zfs")) == {"": "ldiskfs only, and the backend is zfs"}
    assert told("sanity-lsnapshot", BIG) == {"": "ZFS only, and the backend is ldiskfs"}
    assert told("parallel-scale", replace(BIG, has={"mpirun": False})) == {"": "the driver node has no mpirun"}
    assert told("parallel-scale", BIG) == {}  # nobody knows


def test_backends_and_flakey() -> None:
    assert "LU-18889" in told("obdfilter-survey", replace(BIG, backend="zfs"))["1a"]
    assert told("obdfilter-survey", BIG) == {}
    (missing,) = [skip for skip in skips(["replay-vbr"], replace(BIG, has={FLAKEY: False})) if not skip.tests]
    assert missing.fails
    assert not [skip for skip in skips(["replay-vbr"], replace(BIG, has={FLAKEY: True})) if not skip.tests]
    assert told("sanity", replace(BIG, backend="zfs"))["17m"] == "ldiskfs only, and the backend is zfs"


def test_an_unknown_suite_and_a_suite_twice() -> None:
    assert skips(["our-own"], SMALL) == ()
    assert len(skips(["mmp", "mmp"], SMALL)) == 1
