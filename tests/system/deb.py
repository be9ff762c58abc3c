"""Packages of a few files, made on the fly."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


def package(folder: Path, name: str, files: Mapping[str, str], **fields: str) -> Path:
    """One for all architectures, in version 1.5, with these files by their paths; `fields` are more of its control."""
    root = folder / name
    about = {"Package": name, "Version": "1.5", "Architecture": "all", "Maintainer": "t <t@example.org>", **fields}
    about["Description"] = "made for a test"
    for path, content in {"DEBIAN/control": "".join(f"{k}: {v}\n" for k, v in about.items()), **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    if (postinst := root / "DEBIAN/postinst").exists():
        postinst.chmod(0o755)
    argv = ("dpkg-deb", "--root-owner-group", "-b", root, f"{root}.deb")
    subprocess.check_call(argv, stdout=subprocess.DEVNULL)
    return Path(f"{root}.deb")
