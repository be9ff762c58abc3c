"""Where vmlab keeps its few files, and how they are written: whole or not at all."""

import os
from pathlib import Path


def state_dir() -> Path:
    """`VMLAB_STATE_DIR`, else /var/lib/vmlab for root and ~/.local/share/vmlab for others.

    It holds each bed's ssh secret (`beds/BED/`), finished runs (`runs/`) and the log. What exists is asked from
    libvirt, never from here.
    """
    if set_by_user := os.environ.get("VMLAB_STATE_DIR"):
        return Path(set_by_user)
    if os.geteuid() == 0:
        return Path("/var/lib/vmlab")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "vmlab"


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by a complete file of this content (temporary file, fsync, rename)."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
