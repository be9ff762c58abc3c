"""The service as a unit of systemd, where that is process 1 and we are root: it is back after a reboot, and a crash.

Without one it is started by the next command that needs it.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmlab.errors import HostError
from vmlab.runtime.files import write_atomically

UNITS = Path("/etc/systemd/system")
_RUNS = Path("/run/systemd/system")
_TAKES_S = 60.0
_MEMORY = "512M"
_AGAIN_S = 5


def possible() -> bool:
    """There may be units of ours."""
    return os.geteuid() == 0 and _RUNS.is_dir()


def text(bed: str, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> str:
    """The unit, as systemd.service(5) has it; what the service says goes to the file `log`."""
    said = f"append:{str(log).replace('%', '%%')}"
    variables = "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in sorted(environment.items()))
    return (
        "[Unit]\n"
        f"Description=vmlab: guests of the bed {bed} power nodes of it\n"
        "After=libvirtd.service virtqemud.service\n"
        "StartLimitIntervalSec=0\n"
        "\n[Service]\n"
        f"{variables}"
        f"ExecStart={' '.join(map(_quoted, argv))}\n"
        f"StandardOutput={said}\nStandardError={said}\n"
        f"Restart=on-failure\nRestartSec={_AGAIN_S}\n"
        f"MemoryMax={_MEMORY}\n"
        "\n[Install]\nWantedBy=multi-user.target\n"
    )


def install(name: str, content: str) -> None:
    """Have it run from now on, also after a reboot. Raises HostError."""
    path = UNITS / name
    try:
        if not path.exists() or path.read_text() != content:
            write_atomically(path, content)
            _systemctl("daemon-reload")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    _systemctl("enable", "--quiet", name)
    _systemctl("restart", name)


def remove(name: str) -> None:
    """Whatever there is of it goes. Raises HostError."""
    path = UNITS / name
    if path.exists():
        _systemctl("disable", "--quiet", "--now", name)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _systemctl("daemon-reload")


def _systemctl(*words: str) -> None:
    from vmlab.runtime.process import run  # noqa: PLC0415  who only looks does not pay for it

    result = run(("systemctl", *words), deadline_s=_TAKES_S)
    if not result.ok:
        raise HostError(f"systemctl {' '.join(words)}: {result.last_line}")


def _quoted(word: str) -> str:
    """As systemd.syntax(7) wants it: specifiers and variables are none."""
    kept = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{kept}"'
