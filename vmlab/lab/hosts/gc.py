"""What belongs to no bed: found, and removed if asked."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmlab.errors import BusyError
from vmlab.lab.beds.settle import let_go
from vmlab.lab.beds.template import making
from vmlab.lab.ground.bed import locked
from vmlab.lab.ground.bed_folder import folder, named, new_folder, noted_on
from vmlab.lab.ground.hosts import only
from vmlab.lab.ground.image_store import folder as image_folder
from vmlab.lab.ground.image_store import removing, used
from vmlab.lab.ground.images_elsewhere import elsewhere, remove_unused_there, unused_there
from vmlab.lab.ground.kept import file_names, snapshots_of
from vmlab.lab.ground.progress import Silent
from vmlab.lab.hosts.warm import listed as templates
from vmlab.lab.images.derive import abandoned, bed_name, remove_abandoned
from vmlab.plan.actions import EndExport, RemoveNetwork, RemoveVolume
from vmlab.plan.observed import Observed, ObservedBed
from vmlab.plan.snapshots import cut_off
from vmlab.store.images import begun, unused
from vmlab.store.runs import incomplete, remove_incomplete
from vmlab.store.templates import Templates
from vmlab.values import identity
from vmlab.virt.connection import Host
from vmlab.virt.dump_there import unheld
from vmlab.virt.observe import observe
from vmlab.virt.perform import perform
from vmlab.virt.pool import BEDS, refresh_pool


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that no bed needs, and why it is thought so.

    A "volume", "export", "network", "keys", "image build" (all that is left of it), "image file", "template", "template
    file" or "run".
    """

    kind: str
    name: str
    reason: str
    bed: str | None = None
    host: str = "local"


def leftovers(host: Host, runs: Path) -> list[Leftover]:
    """Everything that belongs to no bed. A bed is what has a domain, or disks that were kept.

    Keys are only told of that are this user's, for this host. Of another machine what a vmlab there keeps for itself is
    its own: builds, templates, images with a manifest.
    """
    refresh_pool(host, BEDS)
    observed = observe(host, links=True)
    if elsewhere(host):
        return [
            *(item for bed in _names(host, observed) for item in _of_bed(host, observed, bed)),
            *(Leftover("image file", name, "no image, no clone") for name in unused_there(host, observed)),
        ]
    built_in = {bed_name(name) for name in begun(image_folder(host))}
    no_use = unused(image_folder(host), used(host, observed))
    return [
        *(item for bed in _names(host, observed) if bed not in built_in for item in _of_bed(host, observed, bed)),
        *(Leftover("image build", name, "it was cut off") for name in abandoned(host)),
        *(Leftover("image file", str(p), "no image, no clone") for p in no_use),
        *(Leftover("template", line.template.key, line.useless) for line in templates(host) if line.useless),
        *(Leftover("template file", str(p), "of no whole template") for p in Templates(image_folder(host)).half_made()),
        *(Leftover("run", str(p), "it was cut off") for p in incomplete(runs)),
    ]


def _names(host: Host, observed: Observed) -> list[str]:
    """Beds of which anything is left: on the host, or only their keys."""
    return sorted({*observed.beds, *named(host)})


def _of_bed(host: Host, observed: Observed, name: str) -> list[Leftover]:
    bed = observed.bed(name)
    if bed.nodes or bed.kept:
        return [*_of_snapshots(host, bed), *_of_dumps(host, bed)]
    if noted_on(host, name):  # of its other hosts nothing is known here; `down` takes what is left
        return []
    # What has its disk may be needed there, as are folders that other hosts mount; an export whose disk is gone serves
    # nobody.
    dead = [Leftover("export", export, "its disk is gone", name) for export in bed.exports if export not in bed.volumes]
    if bed.links or bed.folders or len(dead) < len(bed.exports):
        return dead
    if not (bed.networks or bed.volumes):
        keys = new_folder(host, name)
        return [*dead, *([Leftover("keys", str(keys), "nothing of its bed is there", name)] if keys.exists() else [])]
    if folder(host, name).exists():  # disks that were kept before there was a mark for that
        return dead
    in_use = {path for domain in observed.domains.values() for path in domain.disks_in_use}
    free = [volume.name for volume in bed.volumes.values() if volume.path not in in_use]
    return [
        *dead,
        *(Leftover("volume", volume, "its bed has no domain", name) for volume in free),
        *(Leftover("network", n.facts.name, "its bed has no domain", name) for n in bed.networks.values()),
    ]


def _of_snapshots(host: Host, bed: ObservedBed) -> Iterator[Leftover]:
    """Of a bed that is there; what a revert needs that is not over is none."""
    if any(map(identity.of_snapshot, bed.volumes)):
        reverting = identity.reverting(bed.name) in bed.volumes
        for file in cut_off(bed.volumes, snapshots_of(only(host), bed.name), reverting=reverting):
            yield Leftover("volume", file, "its snapshot was cut off", bed.name)


def _of_dumps(host: Host, bed: ObservedBed) -> Iterator[Leftover]:
    """The memory of guests of a bed that is there, which nobody is about to bring to another machine any more."""
    dumps = [name for name in bed.volumes if identity.of_dump(name)]
    for name in unheld(host, dumps) if dumps and host.has_guests else ():
        yield Leftover("volume", name, "whoever collected it was killed", bed.name)


def collect(host: Host, items: list[Leftover]) -> list[Leftover]:
    """Remove them and return what was removed. What a vmlab works on at this moment, or took up since, is skipped."""
    done = _files_there(host, items) if elsewhere(host) else _files_here(host, items)
    for bed in {item.bed: None for item in items if item.bed is not None}:
        try:
            with locked(only(host), bed):
                let_go(only(host), bed, file_names(only(host), bed), Silent())
                for item in _of_bed(host, observe(host, links=True), bed):
                    _remove(host, item)
                    done.append(item)
        except BusyError:
            continue
    return done


def _files_there(host: Host, items: list[Leftover]) -> list[Leftover]:
    """Files of another machine's image store."""
    names = [item.name for item in items if item.kind == "image file"]
    gone: list[str] = []
    with contextlib.suppress(BusyError):
        gone = remove_unused_there(host, names) if names else []
    return [item for item in items if item.kind == "image file" and item.name in gone]


def _files_here(host: Host, items: list[Leftover]) -> list[Leftover]:
    """Runs, builds, templates and files of this machine's image store."""
    done = [item for item in items if item.kind == "run" and remove_incomplete(Path(item.name))]
    # Before the image files: what a build's clone is linked to is none.
    for item in items:
        if item.kind == "image build":
            with contextlib.suppress(BusyError):
                remove_abandoned(host, item.name)
                done.append(item)
    done += _templates(host, items)
    with contextlib.suppress(BusyError), removing():
        still = set(map(str, unused(image_folder(host), used(host))))
        for item in items:
            if item.kind == "image file" and item.name in still:
                _delete(Path(item.name))
                done.append(item)
    return done


def _templates(host: Host, items: list[Leftover]) -> list[Leftover]:
    """Remove templates, and files of half made ones; those that somebody makes at this moment are skipped."""
    kept, done = Templates(image_folder(host)), []
    for item in items:
        if item.kind not in ("template", "template file"):
            continue
        key = Path(item.name).name.partition(".")[0]
        with contextlib.suppress(BusyError), making(key):
            if item.kind == "template":
                kept.remove(key)
            elif Path(item.name) in kept.half_made():
                Path(item.name).unlink(missing_ok=True)
            done.append(item)
    return done


def _remove(host: Host, item: Leftover) -> None:
    if item.kind == "volume":
        perform(host, RemoveVolume(item.name, None, item.reason))
    elif item.kind == "export":
        perform(host, EndExport(item.name, None, item.reason))
    elif item.kind == "network":
        perform(host, RemoveNetwork(item.name, None, item.reason))
    else:
        shutil.rmtree(item.name)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
