"""A topology's content with all paths absolute, so that it means the same wherever it is written."""

from pathlib import Path
from typing import Any


def anchored(content: object, folder: Path) -> dict[str, Any]:
    """The content of a file that lies in `folder`, which is absolute. What is a name, and no path, stays."""
    found = dict(content) if isinstance(content, dict) else {}
    _always(found, folder, "references")
    _paths(found, folder, "image")
    nodes = found.get("nodes")
    if isinstance(nodes, dict):
        found["nodes"] = {name: _node(node, folder) for name, node in nodes.items()}
    return found


def _node(content: object, folder: Path) -> object:
    if not isinstance(content, dict):
        return content
    node = dict(content)
    _paths(node, folder, "image", "template")
    _always(node, folder, "packages", "source")
    if isinstance(node.get("kernel"), dict):
        node["kernel"] = dict(node["kernel"])
        _always(node["kernel"], folder, "image", "initrd")
    if "share" in node:
        shares = node["share"] if isinstance(node["share"], list) else [node["share"]]
        node["share"] = [dict(share) if isinstance(share, dict) else share for share in shares]
        for share in node["share"]:
            if isinstance(share, dict):
                _always(share, folder, "host")
    return node


def _always(content: dict[str, Any], folder: Path, *keys: str) -> None:
    for key in keys:
        if isinstance(content.get(key), str):
            content[key] = str(folder / content[key])


def _paths(content: dict[str, Any], folder: Path, *keys: str) -> None:
    """Of keys that take a name, too."""
    _always(content, folder, *(key for key in keys if "/" in str(content.get(key, ""))))
