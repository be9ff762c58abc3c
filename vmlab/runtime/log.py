"""The log: every command, libvirt action and traceback of one vmlab process, in a file that errors can point to."""

import logging
import os
from logging.handlers import RotatingFileHandler

from vmlab.runtime.files import state_dir

log = logging.getLogger("vmlab")
log.setLevel(logging.WARNING)
log.addHandler(logging.NullHandler())
log.propagate = False


def open_log() -> str:
    """Write the log to `vmlab.log` in the state folder from now on; its path, or "" if it cannot be written."""
    path = state_dir() / "vmlab.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=4_000_000, backupCount=2)
    except OSError:
        return ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s {os.getpid()} %(threadName)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    return str(path)
