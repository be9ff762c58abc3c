"""A bed with real Lustre that is put back, kept warm, failed over and measured, on the image VMLAB_LUSTRE_IMAGE names.

Two servers that are each other's partners, and a client. The tests go in this order. At last Lustre's `replay-single`
takes the bed: it formats what it runs on, and powers the servers off and on by itself.
"""

# ruff: noqa: T201 (what each step took is printed)

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from . import small_io500
from .conftest import Vmlab, qemu_pids, remains
from .timed import Timed

IMAGE = os.environ.get("VMLAB_LUSTRE_IMAGE", "")
pytestmark = [
    pytest.mark.lustre,
    pytest.mark.skipif(not IMAGE, reason="VMLAB_LUSTRE_IMAGE names no image that carries Lustre"),
]

BED = "t-kept"
SERVERS = ("s1", "s2")
PAIR = {s: [s, *(other for other in SERVERS if other != s)] for s in SERVERS}
NODE = {"image": IMAGE, "cpus": 1, "memory": "1GiB", "fabrics": ["eth"], "pin": "shared", "numa": "none"}
TOPOLOGY = {
    "name": BED,
    "hosts": {"local": {"reserve": {"cpus": 0, "memory": "0B"}}},
    "fabrics": {"eth": {"kind": "ethernet", "lnet": "tcp"}},
    "nodes": {"s[1-2]": {**NODE, "role": ["mds", "oss"]}, "c1": {**NODE, "role": "client"}},
    "filesystems": {
        "lustre": {
            "mgt": {"servers": PAIR["s1"]},
            "mdts": [{"servers": PAIR["s1"], "size": "512MiB"}],
            "osts": [{"servers": PAIR[server], "size": "1GiB", "faults": server == "s2"} for server in SERVERS],
            "clients": "c1",
        }
    },
}
TARGETS = {"lustre-MDT0000": "s1", "lustre-OST0000": "s1", "lustre-OST0001": "s2"}
HARD_S = 3600
OF_ALL = ("test_setup", "test_cleanup")
"""What each suite has besides its sub-tests."""

# Files over both OSTs, and a process that writes more of them, each on its OST's disk before its checksum is written.
PREPARE = """
rm -rf /mnt/lustre/* /root/written /root/failed; lfs setstripe -c -1 /mnt/lustre && cd /mnt/lustre &&
mkdir kept io && cd kept &&
for i in 1 2 3 4; do head -c 3000000 /dev/urandom >$i; done && sha256sum * >/root/sums && sync || exit
setsid sh -c 'echo $$ >/run/writer; i=0; while :; do i=$((i+1)); f=/mnt/lustre/io/$i
  head -c 500000 /dev/urandom >$f && sync $f && sha256sum $f >>/root/written || { echo $i >>/root/failed; sleep 1; }
done' </dev/null >/dev/null 2>&1 &
"""
SPOIL = """
kill $(cat /run/writer); cd /mnt/lustre/kept && rm 4 && touch new && head -c 100 /dev/zero >1 &&
head -c 3000000 /dev/zero | dd of=2 conv=notrunc status=none && mv 3 5 && rm -f ../io/1 /root/written && sync
"""
# Without locks a client has nothing of them in its memory.
CHECK = """
kill $(cat /run/writer); sync; echo 3 >/proc/sys/vm/drop_caches; lctl set_param -n 'ldlm.namespaces.*.lru_size=clear'
cd /mnt/lustre/kept && sha256sum --quiet -c /root/sums && [ "$(echo *)" = "1 2 3 4" ] && [ ! -e /root/failed ] &&
sha256sum --quiet -c /root/written && wc -l </root/written
"""


@pytest.fixture(scope="module")
def run(vmlab: Vmlab) -> Timed:
    return Timed(vmlab)


@pytest.fixture(scope="module")
def bed(run: Timed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("kept") / f"{BED}.yaml"
    file.write_text(yaml.safe_dump(TOPOLOGY, sort_keys=False))
    print(run("up", str(file), "--timings", "--timeout", "30m"))
    yield str(file)
    run("down", BED, "--yes")
    assert remains(BED, run.vmlab) == []


def on(run: Timed, node: str, command: str, *, status: int = 0) -> str:
    return run("ssh", BED, node, "--", "sh", "-c", command, status=status)


def mounted_on(run: Timed, file: str) -> dict[str, str]:
    """The node of each target that is mounted."""
    status = run.json("fs", "status", file)
    assert [(client["state"], client["broken"]) for client in status["clients"]] == [("mounted", [])]
    return {target["target"]: target["node"] for target in status["targets"] if target["state"] == "mounted"}


def evictions(run: Timed) -> str:
    return on(run, "c1", "dmesg | grep 'This client was evicted by'; true")


def test_after_a_revert_every_file_is_what_it_was(run: Timed, bed: str) -> None:
    """The writer goes on from where it was: nobody evicted its client, which the clock's jump would have done."""
    assert mounted_on(run, bed) == TARGETS
    on(run, "c1", PREPARE)
    time.sleep(15)
    run("snapshot", "create", BED, "writing")
    print(run.vmlab.complaints)
    time.sleep(15)
    on(run, "c1", SPOIL)
    for _ in range(2):
        run("snapshot", "revert", BED, "writing", "--yes")
        print(run.vmlab.complaints)
        before = int(on(run, "c1", "wc -l </root/written"))
        on(run, "c1", f"timeout 300 sh -c 'until [ $(wc -l </root/written) -gt {before + 5} ]; do sleep 1; done'")
        print("files written:", before, int(on(run, "c1", CHECK)))
        assert mounted_on(run, bed) == TARGETS
        assert evictions(run) == ""
    run("snapshot", "delete", BED, "writing", "--yes")


def test_a_bed_that_was_kept_warm_is_mounted_again(run: Timed, bed: str) -> None:
    on(run, "c1", PREPARE)
    boots = on(run, "c1", "cat /proc/sys/kernel/random/boot_id")
    run("down", BED, "--keep-warm")
    assert qemu_pids(BED) == {}
    time.sleep(60)
    print(run("up", bed, "--timings"))
    assert on(run, "c1", "cat /proc/sys/kernel/random/boot_id") == boots
    assert mounted_on(run, bed) == TARGETS
    before = int(on(run, "c1", "wc -l </root/written"))
    on(run, "c1", f"timeout 300 sh -c 'until [ $(wc -l </root/written) -gt {before + 5} ]; do sleep 1; done'")
    print("files written:", before, int(on(run, "c1", CHECK)))
    assert evictions(run) == ""


def test_after_a_warm_start_a_server_fails_over_and_no_write_is_lost(run: Timed, bed: str) -> None:
    record = run.json("run", bed, "failover", "--set", "target=OST0001", "--set", "how=power")
    assert (record["problems"], record["faults"]) == ([], [])
    told = [[s["metric"], *s["labels"].values(), s["value"]] for s in record["samples"]]
    print(json.dumps(told, indent=1))
    assert {s["labels"]["phase"] for s in record["samples"]} == {"failover", "failback"}
    assert mounted_on(run, bed) == TARGETS


def test_a_disk_that_fails_its_reads_is_felt_by_the_client(run: Timed, bed: str) -> None:
    """Neither the client nor the server has anything of the file in its memory. A client tries ten times (55 s)."""
    on(run, "c1", "lfs setstripe -i 1 /mnt/lustre/failing && head -c 2000000 /dev/urandom >/mnt/lustre/failing && sync")
    forget = "lctl set_param -n 'ldlm.namespaces.*.lru_size=clear'; echo 3 >/proc/sys/vm/drop_caches"
    on(run, "c1", forget)
    on(run, "s2", f"sync; {forget}")
    run("fault", "add", BED, "read-errors", "s2", "--disk", "lustre-OST0001")
    (fault,) = run.json("fault", "list", BED)
    assert (fault["node"], fault["kind"]) == ("s2", "read-errors")
    assert "Input/output error" in on(run, "c1", "cat /mnt/lustre/failing 2>&1 >/dev/null; true")
    run("fault", "clear", BED)
    assert run.json("fault", "list", BED) == []
    assert on(run, "c1", "wc -c </mnt/lustre/failing") == "2000000\n"
    assert on(run, "c1", "cat /mnt/lustre/failing | wc -c; rm /mnt/lustre/failing") == "2000000\n"
    assert mounted_on(run, bed) == TARGETS


# Small transfers, for what is over within a second is no measurement (SHORT), and the disks are in the host's memory.
SURVEY = (
    "obdfilter_survey",
    "--set",
    "size=48MiB",
    "--set",
    "record=4KiB",
    "--set",
    "objects=[1]",
    "--set",
    "threads=[1,2]",
)
# Echo clients and objects: what a survey makes, and takes away again.
LEFT = "lctl dl | grep -c echo; lctl get_param -n 'obdfilter.*.filesfree'; test -d /sys/module/obdecho && echo obdecho"
FOLDERS = 34
"""Of echo objects, as inodes: an OST makes them for its first survey, and they stay."""


def free(run: Timed, server: str) -> int:
    """Inodes of its OST; nothing else of a survey is there."""
    said = on(run, server, f"sync; {LEFT}; true").split()
    print(server, said)
    assert (said[0], len(said)) == ("0", 2)
    return int(said[1])


def surveyed(record: dict[str, Any]) -> set[tuple[str, ...]]:
    assert (record["problems"], record["faults"]) == ([], [])
    for sample in record["samples"]:
        labels = sample["labels"]
        if sample["metric"] == "bandwidth":
            print(*labels.values(), f"{sample['value']:.1f}", sample["unit"])
    return {
        (s["labels"]["nodes"], s["labels"]["objects"], s["labels"]["threads"], s["labels"]["operation"])
        for s in record["samples"]
        if s["value"] > 0
    }


def test_osts_are_surveyed_alone_and_together(run: Timed, bed: str) -> None:
    before = {server: free(run, server) for server in SERVERS}
    rows = {("1", "1"), ("1", "2")}
    expected = {(n, *row, o) for n in (*SERVERS, "s1+s2") for row in rows for o in ("write", "rewrite", "read")}
    assert surveyed(run.json("run", bed, *SURVEY)) == expected
    for server, inodes in before.items():
        assert inodes - free(run, server) in (0, FOLDERS)
    assert mounted_on(run, bed) == TARGETS


def test_what_a_killed_survey_left_the_next_one_removes(run: Timed, bed: str) -> None:
    before = free(run, "s2")
    survey = run.vmlab.start("run", bed, *SURVEY, "--set", "nodes=s2", "--set", "size=512MiB")
    on(run, "s2", "timeout 600 sh -c 'until lctl dl | grep -q echo; do sleep 1; done'; sleep 10")
    survey.send_signal(signal.SIGKILL)
    survey.communicate()
    on(run, "s2", "pkill -KILL obdfilter; pkill -KILL -f [i]okit; true")
    assert "echo" in on(run, "s2", "lctl dl")
    surveyed(run.json("run", bed, *SURVEY, "--set", "nodes=s2"))
    assert before - free(run, "s2") in (0, FOLDERS)


def test_a_survey_from_a_client_is_refused_since_lustre_has_none(run: Timed, bed: str) -> None:
    run("run", bed, *SURVEY, "--set", "case=netdisk", status=7)
    assert "Lustre has no echo client over an OSC since 2.16" in run.vmlab.complaints
    assert on(run, "c1", "lctl dl | grep -c echo; true") == "0\n"
    assert mounted_on(run, bed) == TARGETS


def test_iozone_runs_on_it(run: Timed, bed: str) -> None:
    record = run.json("run", bed, "iozone", "--set", "processes=[1,2]", "--set", "total=32MiB")
    assert (record["problems"], record["faults"]) == ([], [])
    found = set()
    for sample in record["samples"]:
        if sample["metric"] == "bandwidth":
            print(*sample["labels"].values(), f"{sample['value']:.1f}", sample["unit"])
            found.add(tuple(sample["labels"][name] for name in ("processes", "direct", "operation")))
    operations = ("write", "read", "random_read", "random_write")
    assert found == {(p, d, o) for p in ("1", "2") for d in ("true", "false") for o in operations}
    assert on(run, "c1", "ls -d /mnt/lustre/vmlab-*; true") == ""


def test_io500_runs_on_it_and_says_that_its_score_is_not_valid(run: Timed, bed: str) -> None:
    if "no io500" in on(run, "c1", "command -v io500 || echo no io500"):
        pytest.skip(f"the image {IMAGE} has no io500")
    record = run.json("run", bed, *small_io500.OPTIONS)
    assert (record["problems"], record["faults"]) == ([], [])
    for sample in record["samples"]:
        print(sample["labels"].get("phase", sample["metric"]), f"{sample['value']:.4f}", sample["unit"])
    assert {
        s["labels"]["phase"] for s in record["samples"] if "phase" in s["labels"] and s["value"] > 0
    } >= small_io500.PHASES
    assert {s["labels"].get("valid") for s in record["samples"] if s["metric"] == "score"} == {"no"}
    assert "not valid by IO500's rules" in json.dumps(record)
    assert on(run, "c1", "ls -d /mnt/lustre/vmlab-*; true") == ""


NO_TESTS = "ls /usr/lib*/lustre/tests/auster || echo no tests"


def test_replay_single_powers_servers_off_and_all_is_recovered(run: Timed, bed: str) -> None:
    """FAILURE_MODE=HARD: the client asks for each power off, and the partner takes over what was not replayed yet."""
    if "no tests" in on(run, "c1", NO_TESTS):
        pytest.skip(f"the image {IMAGE} has no lustre-tests")
    before = qemu_pids(BED)
    record = run.json(
        "run", bed, "lustre_tests", "--set", "suites=replay-single", "--set", "only=[0a]",
        "--set", f"subtest_limit_s={HARD_S}",
    )  # fmt: skip
    (suite,) = record["suites"]
    for test in suite["tests"]:
        print(test["test"], test["status"], test["seconds"])
    assert {test["test"]: test["status"] for test in suite["tests"] if test["test"] not in OF_ALL} == {
        "test_0a": "pass"
    }
    after = qemu_pids(BED)
    assert after[f"{BED}.s1"] != before[f"{BED}.s1"]
    assert after[f"{BED}.c1"] == before[f"{BED}.c1"]


def test_what_the_framework_formatted_is_vmlab_s_again(run: Timed, bed: str) -> None:
    if "no tests" in on(run, "c1", NO_TESTS):
        pytest.skip(f"the image {IMAGE} has no lustre-tests")
    run("fs", "umount", bed)
    run("fs", "format", bed, "--reformat", "--yes")
    run("fs", "mount", bed)
    assert mounted_on(run, bed) == TARGETS
    assert on(run, "c1", "ls /mnt/lustre") == ""
