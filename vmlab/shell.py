"""Shell scripts that lie beside the modules that have them run: files, so that other tools can read them."""

from pathlib import Path


def script(module: str, name: str) -> str:
    """The text of a script in the folder of `module`, which is a module's `__file__`.

    Without its comments: it travels by ssh, and stands in the log. Run it as `sh -c TEXT vmlab ARGUMENT...`.
    """
    lines = Path(module).with_name(name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#")) + "\n"
