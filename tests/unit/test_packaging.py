"""What a wheel carries, and that vmlab runs from it: without the source tree."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = {"vmlab": "vmlab", "topologies": "vmlab/topologies", "domain-templates": "vmlab/domain-templates"}


def _files(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked. Built from a copy: what an earlier build left beside the sources would get into it."""
    source, unpacked = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(source / "out")]
    done = subprocess.run([*pip, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (source / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def test_nothing_is_left_behind(installed: Path) -> None:
    wanted = {f"{inside}/{file}" for folder, inside in FOLDERS.items() for file in _files(ROOT / folder)}
    assert wanted == {file for file in _files(installed) if not file.partition("/")[0].endswith(".dist-info")}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["validate", "minimal.yaml"], ["schema"], ["graph", "ha-topology.yaml", "-o", "bed.svg"]],
    ids=lambda arguments: arguments[0],
)
def test_it_runs(installed: Path, tmp_path: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "vmlab", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where = [sys.executable, "-c", "import vmlab; print(vmlab.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert found == f"{installed}/vmlab/__init__.py\n"


def test_it_has_the_domain_templates(installed: Path, tmp_path: Path) -> None:
    code = "from vmlab.runtime.shipped import shipped; print(shipped('domain-templates') / 'server.xml')"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert found == f"{installed}/vmlab/domain-templates/server.xml\n"
    assert Path(found.strip()).is_file()


def test_what_is_imported_is_required() -> None:
    """A package that another tool brought into this environment is missing in the next one.

    What is an extra's alone is imported where it may be absent, and told.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (*project["dependencies"], *project["optional-dependencies"]["parquet"])
    required = {_normal(re.split(r"[><=~!\[ ;]", line)[0]) for line in lines}
    required.add("pydantic-core")  # pydantic requires exactly one version of it and documents its errors
    guests = ROOT / "vmlab/store/recipes/demo"
    sources = [path for path in (ROOT / "vmlab").rglob("*.py") if guests not in path.parents]
    imported = {name for path in sources for name in _imports(path)} - sys.stdlib_module_names - {"vmlab"}
    owners = packages_distributions()
    assert {name: owners[name] for name in imported if not required & set(map(_normal, owners[name]))} == {}


def _imports(path: Path) -> set[str]:
    """The top-level names of what it imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _locked(name: str) -> dict[str, list[str]]:
    """Versions by package: more than one where Python's own version decides."""
    text = (ROOT / "scripts/lock" / name).read_text()
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\w)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        hashes = r"(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+\n?"
        line = re.fullmatch(rf"([\w-]+)==([\w.]+)(?: ; [^\\]+)? \\{hashes}", block)
        assert line, block[:200]
        found.setdefault(line[1], []).append(line[2])
    return found


def test_the_lock_is_what_the_project_asks_for() -> None:
    """scripts/update-lock was run after pyproject.toml was edited; packages have hashes, and no address or path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build, ours, tests = (_locked(f"{name}.txt") for name in ("build", "vmlab", "test"))
    asked = (
        (build, project["build-system"]["requires"]),
        (ours, project["project"]["dependencies"]),
        (tests, project["project"]["dependencies"] + project["project"]["optional-dependencies"]["test"]),
    )
    for locked, lines in asked:
        for requirement in map(Requirement, lines):
            versions = locked[canonicalize_name(requirement.name)]
            assert all(requirement.specifier.contains(version) for version in versions), requirement
    assert ours.items() <= tests.items()
    assert tests["setuptools"] == build["setuptools"]


def test_each_requirement_ends_before_what_may_break_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["test"]
    for requirement in map(Requirement, (*lines, *project["build-system"]["requires"])):
        assert {">=", "<"} == {one.operator for one in requirement.specifier}, requirement
