"""What ships with vmlab beside its code: topologies and domain templates."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(kind: str) -> Path:
    """The folder of `topologies` or `domain-templates`: inside an installed package, beside it in a source tree."""
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind
