"""The image of an entry with packages: built once of the image that the topology names, and kept for other nights."""

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from vmlab.errors import HostError
from vmlab.lab.nightly.entry import CalledOff
from vmlab.lab.nightly.verbs import Means, announce, last_error
from vmlab.nights.night import Entry
from vmlab.runtime.own import run_own
from vmlab.store.packages import collect

_LIST_S = 120.0
_DEFAULT = "demo"
_ONE_AT_A_TIME = threading.Lock()


def packed(entry: Entry, means: Means, limit_s: float) -> Entry:
    """The entry, with an image that has its packages; without packages as it is.

    Raises UsageError for what is no package, HostError with the words of a build that failed, CalledOff.
    """
    if not entry.packages:
        return entry
    folder = means.folder / "entries" / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    base = str(entry.content.get("image", _DEFAULT))
    _, files = collect(entry.packages)
    with _ONE_AT_A_TIME:
        images = _images(folder, means)
        name = _name(base, images.get(base, ""), files)
        if name not in images:
            accel = ("--accel", means.accel) if means.accel else ()
            words = [word for path in entry.packages for word in ("--packages", str(path))]
            _run(folder, means, limit_s, "image", "build", name, "--from", base, *words, *accel)
    return replace(entry, content={**entry.content, "image": name}, packages=())


def _name(base: str, content: str, files: Sequence[Path]) -> str:
    """One for the same packages in the same image; `content` tells apart what had the image's name at times."""
    digest = sha256(f"{base}\0{content}\0".encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    stem = re.sub(r"[^a-z0-9._-]", "-", Path(base).name.lower().removesuffix(".qcow2"))[:40]
    return f"{stem.lstrip('._-') or 'image'}-{digest.hexdigest()[:12]}"


def _images(folder: Path, means: Means) -> Mapping[str, str]:
    """What the store has: the disk of each image."""
    text = _run(folder, means, _LIST_S, "image", "list", "-o", "json")
    try:
        found: list[dict[str, Any]] = json.loads(text or "[]")
        return {one["name"]: one["files"]["disk"] for one in found}
    except (ValueError, KeyError, TypeError) as error:
        raise HostError(f"`vmlab image list` cannot be understood: {text[:60]!r}", hint="vmlab image list") from error


def _run(folder: Path, means: Means, limit_s: float, *argv: str) -> str:
    out, messages = folder / "image.out", folder / "messages.log"
    announce(messages, argv)
    ended = run_own(
        argv, stdout=out, stderr=messages, limit_s=limit_s, called_off=means.called_off, program=means.program
    )
    if ended.called_off:
        raise CalledOff
    if ended.status:
        why = last_error(messages) or f"`vmlab {' '.join(argv[:2])}` ended with {ended.status}"
        raise HostError(f"the image with its packages could not be built: {why}", hint=f"less {messages}")
    return out.read_text(encoding="utf-8", errors="replace")
