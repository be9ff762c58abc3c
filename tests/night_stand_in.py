"""What a night takes for `vmlab` in tests: beds are folders, and a `command` runs here, in its bed's folder.

Real processes, ended and killed as the real ones are; only guests are not there. A file `broken-VERB` in the folder of
beds makes the verb fail once for each line in it: `BED STATUS words`.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import yaml

BEDS = Path(os.environ["NIGHT_BEDS"])


def out(words: str, file: TextIO = sys.stdout) -> None:
    file.write(f"{words}\n")


def tell(words: str) -> None:
    with (BEDS / "log").open("a") as file:
        file.write(f"{words}\n")


def broken(verb: str, bed: str) -> None:
    """Beds that come up side by side read and write the same file."""
    file = BEDS / f"broken-{verb}"
    if not file.exists():
        return
    with file.open("r+") as lines_of_all:
        fcntl.flock(lines_of_all, fcntl.LOCK_EX)
        lines = lines_of_all.read().splitlines()
        line = next((one for one in lines if one.partition(" ")[0] == bed), None)
        if line is None:
            return
        lines.remove(line)
        lines_of_all.seek(0)
        lines_of_all.truncate()
        lines_of_all.write("".join(f"{one}\n" for one in lines))
    _, status, words = line.split(" ", 2)
    out(f"vmlab: {words}", sys.stderr)
    raise SystemExit(int(status))


def image(verb: str, *argv: str) -> int:
    """The store is a file of names."""
    store = BEDS / "images"
    names = store.read_text().split() if store.exists() else ["demo"]
    if verb == "list":
        out(json.dumps([{"name": name, "files": {"disk": f"{name}-0.qcow2"}} for name in names]))
        return 0
    tell(" ".join(("image", verb, *argv)))
    broken("image", argv[argv.index("--from") + 1])
    store.write_text(" ".join((*names, argv[0])))
    return 0


def main(verb: str, *argv: str) -> int:
    if verb == "image":
        return image(*argv)
    words = [word for word in argv if word.endswith(".yaml")]
    content = yaml.safe_load(Path(words[0]).read_text())
    bed = BEDS / content["name"]
    tell(" ".join((verb, bed.name, *(word for word in argv if word not in words))))
    broken(verb, bed.name)
    match verb:
        case "up":
            bed.mkdir(exist_ok=True)
            time.sleep(0.1)
        case "rebuild":
            shutil.rmtree(bed, ignore_errors=True)
            bed.mkdir()
        case "down":
            shutil.rmtree(bed, ignore_errors=True)
        case "collect":
            folder = Path(argv[argv.index("--to") + 1])
            folder.mkdir(parents=True)
            (folder / "index.md").write_text(f"# Evidence of {bed.name}\n")
        case "run":
            if "--resume" in argv:
                out("vmlab: no run was cut off", sys.stderr)
                return 2
            return run(bed, content["workloads"][0])
    return 0


def suites(bed: Path, options: dict[str, Any]) -> int:
    """Each suite has twelve sub-tests that sleep; a file SUITE.TEST in the folder of beds makes one fail once."""
    found = []
    for suite in options["suites"]:
        tests = []
        for name in options.get("only") or [str(number) for number in range(12)]:
            if name in options.get("except", ()):
                continue
            tell(f"test {bed.name} {suite}.{name}")
            time.sleep(float(os.environ["NIGHT_SLEEPS"]))
            failing = BEDS / f"{suite}.{name}"
            status = "fail" if failing.exists() else "pass"
            failing.unlink(missing_ok=True)
            tests.append({"suite": suite, "test": f"test_{name}", "status": status, "seconds": 1, "why": ""})
        found.append({"suite": suite, "status": "pass", "seconds": 1, "why": "", "tests": tests})
    nodes = [{"name": "c1", "lustre": "2.17.57", "machine": "x86_64"}, {"name": "c2", "lustre": ""}]
    record = {"id": f"run-{os.getpid()}", "problems": [], "faults": [], "commands": [], "suites": found}
    out(json.dumps([record | {"nodes": nodes}]))
    return 8 if any(test["status"] == "fail" for suite in found for test in suite["tests"]) else 0


def run(bed: Path, workload: dict[str, dict[str, Any]]) -> int:
    assert bed.is_dir(), "the bed is not up"
    ((name, options),) = workload.items()
    if "suites" in options:
        return suites(bed, options)
    command = subprocess.Popen(["sh", "-c", options["run"]], cwd=bed, stdout=subprocess.PIPE, text=True)

    def end(number: int, frame: object) -> None:
        del number, frame
        command.kill()
        raise SystemExit(130)

    signal.signal(signal.SIGTERM, end)
    said = command.communicate()[0]
    status = command.returncode
    record = {"id": f"run-{bed.name}-{os.getpid()}", "problems": [], "faults": [], "commands": []}
    folder = Path(os.environ["VMLAB_STATE_DIR"]) / "runs" / str(record["id"])
    folder.mkdir(parents=True)
    (folder / "c.out").write_text(said)
    record["commands"] = [{"status": status, "stdout": "c.out", "stderr": "c.err"}]
    if status:
        record["faults"] = [f"{name}: status {status}"]
    out(json.dumps([record]))
    return 7 if status else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
