"""Two beds side by side, brought up at the same time."""

from .conftest import ROOT, SMALL, Vmlab, qemu_pids, remains

FILE = str(ROOT / "topologies/minimal.yaml")
BEDS = ("t-a", "t-b")


def test_two_beds_at_once(vmlab: Vmlab) -> None:
    started = [vmlab.start("up", FILE, "--name", bed, *SMALL) for bed in BEDS]
    try:
        for process in started:
            _, told = process.communicate()
            assert process.returncode == 0, told
        addresses = [vmlab.json("status", bed)[0]["addresses"] for bed in BEDS]
        assert addresses[0] != addresses[1]
        before = qemu_pids("t-b")
        vmlab.run("down", "t-a", "--yes")
        assert remains("t-a", vmlab) == []
        assert qemu_pids("t-b") == before
        assert vmlab.json("status", "t-b")[0]["stage"] == "ready"
    finally:
        for bed in BEDS:
            vmlab.run("down", bed, "--yes")
