"""How a host is called in files, here and on the machine itself; and what is written down of a bed on several."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vmlab.errors import HostError
from vmlab.lab.ground.bed_folder import (
    new_folder,
    nodes_on,
    roles_on,
    slug,
    slug_there,
    spread,
    spread_beds,
    spread_over,
    ways_of,
)
from vmlab.values.libvirt_uri import Way
from vmlab.values.ssh_uri import SshUri


def host(uri: str, *, local: bool = False) -> Any:
    return SimpleNamespace(uri=uri, local=local)


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("qemu+ssh://root@kvm2/system", "qemu-system"),
        ("qemu+ssh://root@10.0.0.2:2222/system?keyfile=/k", "qemu-system"),
        ("qemu+libssh2://kvm2/session", "qemu-session"),
        ("qemu+tls://kvm2:16515/system?pkipath=/k", "qemu-system"),
    ],
)
def test_a_lock_there_is_called_as_it_is_there(uri: str, there: str) -> None:
    assert slug_there(host(uri)) == there == slug(host(uri.partition("+")[0] + f":///{there[5:]}", local=True))
    assert slug(host(uri)) != there


def test_what_is_written_down_of_a_bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path))
    home = host("qemu:///system", local=True)
    ways = {
        "kvm1": Way(home.uri),
        "kvm2": Way("qemu+ssh://root@kvm2/system"),
        "kvm3": Way("qemu+tls://kvm3/system", SshUri("root", ("kvm3",), 2222)),
    }
    assert (spread_over(home, "ha"), nodes_on(home, "ha", "kvm2"), spread_beds()) == ({}, [], [])
    spread(home, "ha", ways, {"kvm2": {"oss2": ["oss", "mgs"]}})
    assert spread_beds() == spread_beds("ha") == [new_folder(home, "ha")]
    assert spread_beds("other") == []
    assert ways_of(new_folder(home, "ha")) == ways
    assert spread_over(home, "ha") == {way.uri: name for name, way in ways.items()}
    assert (nodes_on(home, "ha", "kvm1"), nodes_on(home, "ha", "kvm2")) == ([], ["oss2"])
    assert roles_on(home, "ha", "kvm2") == {"oss2": ("oss", "mgs")}
    # As an earlier vmlab wrote it.
    file = new_folder(home, "ha") / "hosts"
    file.write_text(file.read_text().replace('{"oss2": ["oss", "mgs"]}', '["oss2"]'))
    assert (nodes_on(home, "ha", "kvm2"), roles_on(home, "ha", "kvm2")) == (["oss2"], None)


_WRONG_SSH = '{"kvm1": {"uri": "x", "ssh": "ssh://-x", "nodes": []}}'


@pytest.mark.parametrize("text", ["", "[]", '{"kvm1": "qemu:///system"}', '{"kvm1": {"uri": "x"}}', _WRONG_SSH, "\xff"])
def test_what_cannot_be_read_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("VMLAB_STATE_DIR", str(tmp_path))
    home = host("qemu:///system", local=True)
    file = new_folder(home, "ha") / "hosts"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")
    with pytest.raises(HostError, match=str(file)) as caught:
        ways_of(file.parent)
    assert f"rm -r {file.parent}" in caught.value.hint
