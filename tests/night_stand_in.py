"""What a night takes for `vmlab` in tests: beds are folders, and a `command` runs here, in its bed's folder.

Real processes, ended and killed as the real ones are; only guests are not there. A file `broken-VERB` in the folder of
beds makes the verb fail once for each line in it: `BED STATUS words`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import yaml

BEDS = Path(os.environ["NIGHT_BEDS"])


def out(words: str, file: TextIO = sys.stdout) -> None:
    file.write(f"{words}\n")


def tell(words: str) -> None:
    with (BEDS / "log").open("a") as file:
        file.write(f"{words}\n")


def broken(verb: str, bed: str) -> None:
    file = BEDS / f"broken-{verb}"
    lines = file.read_text().splitlines() if file.exists() else []
    for line in lines:
        of, status, words = line.split(" ", 2)
        if of == bed:
            lines.remove(line)
            file.write_text("".join(f"{one}\n" for one in lines))
            out(f"vmlab: {words}", sys.stderr)
            raise SystemExit(int(status))


def main(verb: str, *argv: str) -> int:
    words = [word for word in argv if word.endswith(".yaml")]
    content = yaml.safe_load(Path(words[0]).read_text())
    bed = BEDS / content["name"]
    tell(" ".join((verb, bed.name, *(word for word in argv if word not in words))))
    broken(verb, bed.name)
    match verb:
        case "up":
            bed.mkdir(exist_ok=True)
            time.sleep(0.1)
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


def run(bed: Path, workload: dict[str, dict[str, str]]) -> int:
    assert bed.is_dir(), "the bed is not up"
    ((name, options),) = workload.items()
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
