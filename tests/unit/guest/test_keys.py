import subprocess
from pathlib import Path

import pytest

from vmlab.errors import HostError
from vmlab.guest.keys import BedKeys, identity


def made(folder: Path) -> BedKeys:
    keys = BedKeys.fresh(folder)
    keys.write([])
    return keys


def test_everything_derives_from_the_secret(tmp_path: Path) -> None:
    keys = made(tmp_path / "ha")
    again = BedKeys.of(tmp_path / "ha")
    assert again.public_key == keys.public_key
    assert again.host_key("oss1") == keys.host_key("oss1")
    assert keys.host_key("oss1") != keys.host_key("oss2")
    assert again.authority == keys.authority
    assert again.root_certificate("oss1") == keys.root_certificate("oss1")
    assert made(tmp_path / "other").public_key != keys.public_key


def test_new_keys_are_not_written_before_they_are_kept(tmp_path: Path) -> None:
    keys = BedKeys.fresh(tmp_path / "ha")
    assert not (tmp_path / "ha").exists()
    keys.write(["oss1"])
    assert BedKeys.of(tmp_path / "ha").public_key == keys.public_key


def test_folder_and_secret_are_for_their_owner_only(tmp_path: Path) -> None:
    made(tmp_path / "ha")
    assert (tmp_path / "ha").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "ha/secret").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (tmp_path / "ha").iterdir()} == {"secret", "id_ecdsa", "known_hosts"}


def test_a_bed_of_an_earlier_vmlab_keeps_the_key_that_its_guests_know(tmp_path: Path) -> None:
    keys = made(tmp_path / "ha")
    assert keys.public_key.startswith("ecdsa-sha2-nistp256 ")
    (tmp_path / "ha/id_ecdsa").rename(tmp_path / "ha/id_ed25519")
    earlier = BedKeys.of(tmp_path / "ha")
    earlier.write(["oss1"])
    assert earlier.public_key.startswith("ssh-ed25519 ")
    assert not (tmp_path / "ha/id_ecdsa").exists()
    said = subprocess.run(("ssh-keygen", "-y", "-f", identity(tmp_path / "ha")), capture_output=True, check=True)
    assert said.stdout.decode().strip() == earlier.public_key


def test_without_a_secret_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="bed ha has no ssh secret") as caught:
        BedKeys.of(tmp_path / "ha")
    assert caught.value.hint == "vmlab rebuild ha"
    assert not (tmp_path / "ha").exists()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ha").mkdir()
    (tmp_path / "ha/secret").write_bytes(content)
    with pytest.raises(HostError, match=f"{len(content)} bytes"):
        BedKeys.of(tmp_path / "ha")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="Not a directory"):
        BedKeys.fresh(tmp_path / "file/ha").write(["oss1"])


def test_write_makes_what_ssh_reads_and_only_if_it_differs(tmp_path: Path) -> None:
    keys = made(tmp_path / "ha")
    keys.write(["mds1", "oss1"])
    known, identity = tmp_path / "ha/known_hosts", tmp_path / "ha/id_ecdsa"
    assert [line.split()[0] for line in known.read_text().splitlines()] == ["mds1.ha", "oss1.ha"]
    assert keys.host_key("oss1").public.split()[1] in known.read_text()
    before = known.stat().st_ino, identity.stat().st_ino
    keys.write(["mds1", "oss1"])
    assert (known.stat().st_ino, identity.stat().st_ino) == before
    keys.write(["mds1"])
    assert "oss1" not in known.read_text()
    identity.chmod(0o644)
    keys.write(["mds1"])
    assert identity.stat().st_mode & 0o777 == 0o600
