"""A double of the kernel's PCI core: what it does when the files of a made tree are written.

The files are real and read and written by the real code; its refusals are those recorded on the emulated lab host
(ERANGE, EBUSY) and those of drivers/pci/pci-sysfs.c (ENOENT without a driver that makes VFs).
"""

import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from typing_extensions import override

from vmlab.virt.sysfs import Sysfs, WriteRefused

from .conftest import make_tree

IGB = "bus/pci/devices/0000:21:00.0"


def igb_tree(root: Path) -> Path:
    """As `ls` shows an igb with SR-IOV on the emulated lab host."""
    return make_tree(
        root,
        {
            f"{IGB}/sriov_totalvfs": "7\n",
            f"{IGB}/sriov_numvfs": "0\n",
            f"{IGB}/sriov_drivers_autoprobe": "1\n",
            f"{IGB}/net/ens10/type": "1\n",
            f"{IGB}/driver": "-> ../../drivers/igb",
            "bus/pci/drivers/igb/bind": "",
            "bus/pci/drivers/igbvf/bind": "",
            "bus/pci/drivers/igbvf/unbind": "",
            "bus/pci/drivers/vfio-pci/unbind": "",
            "bus/pci/drivers_probe": "",
        },
    )


class Kernel(Sysfs):
    """`written` are all writes in order. VFs are functions of slot 0x10, as with igb; `natural` drives them.

    `late`: so many looks at the links pass until all are there.
    """

    def __init__(self, root: Path, *, natural: str = "igbvf", late: int = 0) -> None:
        self.root = root
        self.real = Sysfs.local(root)
        self.written: list[tuple[str, str]] = []
        self.natural = natural
        self.late = late
        self._hidden = 0

    @override
    def read(self, path: str) -> str | None:
        return self.real.read(path)

    @override
    def read_many(self, patterns: Iterable[str]) -> Mapping[str, str]:
        return self.real.read_many(patterns)

    @override
    def link(self, path: str) -> str | None:
        return self.real.link(path)

    @override
    def links(self, patterns: Iterable[str]) -> Mapping[str, str]:
        found = dict(self.real.links(patterns))
        if self._hidden > 0:
            self._hidden -= 1
            found.popitem()
        return found

    @override
    def exists(self, path: str) -> bool:
        return self.real.exists(path)

    @override
    def write(self, path: str, text: str) -> None:
        self.written.append((path, text))
        if path.endswith("/sriov_numvfs"):
            self._set_count(path, int(text))
        (self.root / path).write_text("")  # the kernel's files do not keep the end of a longer text
        self.real.write(path, text)
        where = path.rpartition("/")[2]
        if where in ("bind", "unbind", "drivers_probe"):
            self._bind(where, path.split("/")[-2], text)
        if where == "driver_override":
            (self.root / path).write_text("(null)\n" if text == "\n" else text)

    def _set_count(self, path: str, count: int) -> None:
        pf = self.root / Path(path).parent
        now = int((pf / "sriov_numvfs").read_text())
        driver = pf / "driver"
        if count > int((pf / "sriov_totalvfs").read_text()):
            raise _refused(path, count, errno.ERANGE)
        if not driver.is_symlink() or driver.readlink().name == "mlx4_core":
            raise _refused(path, count, errno.ENOENT)
        if now and count:
            raise _refused(path, count, errno.EBUSY)
        for number in range(now):
            shutil.rmtree(self.root / "bus/pci/devices" / (pf / f"virtfn{number}").readlink().name)
            (pf / f"virtfn{number}").unlink()
        for number in range(count):
            vf = f"{pf.name[:7]}:10.{2 * number}" if pf.name[8:] == "00.0" else f"{pf.name[:8]}00.{number + 1}"
            folder = self.root / "bus/pci/devices" / vf
            make_tree(folder, {"physfn": f"-> ../{pf.name}", "driver_override": "(null)\n"})
            (pf / f"virtfn{number}").symlink_to(f"../{vf}")
            if (pf / "sriov_drivers_autoprobe").read_text().strip() == "1":
                self._bind("bind", self.natural, vf)
        self._hidden = self.late

    def _bind(self, how: str, driver: str, address: str) -> None:
        link = self.root / "bus/pci/devices" / address / "driver"
        if how == "unbind":
            link.unlink()
        elif not link.is_symlink():
            link.symlink_to(f"../../drivers/{driver if how == 'bind' else self.natural}")


def _refused(path: str, count: int, number: int) -> WriteRefused:
    return WriteRefused(path, str(count), os.strerror(number))
