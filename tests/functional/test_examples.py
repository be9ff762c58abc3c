"""The examples of docs/examples, each checked by the tool that knows its form; tools are fetched once."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vmlab.cli.nightly import load
from vmlab.judgement.expectations import load as load_expected

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
UNITS = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".service", ".timer"))
GROOVY_LINT, CHECK_JSONSCHEMA = "npm-groovy-lint@15", "check-jsonschema==0.39.0"
INSTALL_S = 240
CHECK_S = 240


@pytest.fixture(scope="module")
def fetched(pytestconfig: pytest.Config) -> Callable[..., Path]:
    """A folder that a tool was installed into by this command, now or before; skips if that fails."""
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache

    def fetch(name: str, *argv: str) -> Path:
        folder = cache.mkdir(name)
        if not (folder / "done").exists():
            try:
                done = subprocess.run(
                    [word.format(folder=folder) for word in argv],
                    capture_output=True,
                    text=True,
                    timeout=INSTALL_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"{name} cannot be installed: {error}")
            if done.returncode:
                pytest.skip(f"{name} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
            (folder / "done").touch()
        return folder

    return fetch


def check(argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(argv, capture_output=True, text=True, timeout=CHECK_S, check=False, env=env)


def test_the_night_means_something() -> None:
    night = load(str(EXAMPLES / "night.yaml"))
    assert [entry.name for entry in night.entries] == ["ha-ldiskfs", "ha-zfs"]
    assert night.expected is not None
    (expected,) = load_expected(night.expected)
    assert expected.test in {step.name for entry in night.entries for step in entry.steps}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("broken", [False, True], ids=["as they are", "broken"])
def test_systemd_takes_the_units(tmp_path: Path, *, broken: bool) -> None:
    for name in UNITS:
        text = (EXAMPLES / name).read_text().replace("/usr/bin/vmlab", sys.executable)
        (tmp_path / name).write_text(text.replace("KillMode=mixed", "KillMode=none-such") if broken else text)
    done = check(["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)])
    complaints = [line for line in done.stderr.splitlines() if "vmlab" in line]
    assert bool(complaints) == broken, done.stderr


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "broken"])
def test_gitlab_takes_the_job(fetched: Callable[..., Path], tmp_path: Path, *, broken: bool) -> None:
    pip = (sys.executable, "-m", "pip", "install", "-q", "--target", "{folder}", CHECK_JSONSCHEMA)
    folder = fetched("check-jsonschema", *pip)
    file = tmp_path / "gitlab-ci.yml"
    text = (EXAMPLES / "gitlab-ci.yml").read_text()
    file.write_text(text.replace("when: always", "when: sometimes") if broken else text)
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(file)]
    done = check(argv, PYTHONPATH=str(folder))
    assert bool(done.returncode) == broken, done.stdout + done.stderr


def test_groovy_lint_takes_the_jenkinsfile(fetched: Callable[..., Path], tmp_path: Path) -> None:
    """Beside one that is broken: the tool takes half a minute to begin."""
    npm = ("npm", "install", "--no-audit", "--no-fund", "--prefix", "{folder}", GROOVY_LINT)
    lint = fetched("npm-groovy-lint", *npm) / "node_modules/.bin/npm-groovy-lint"
    text = (EXAMPLES / "Jenkinsfile").read_text()
    for name, content in (("good", text), ("broken", text.replace("script {", "script {{", 1))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Jenkinsfile").write_text(content)
    done = check([str(lint), "--path", str(tmp_path), "--files", "**/Jenkinsfile", "--noserver", "--output", "json"])
    found = json.loads(done.stdout[done.stdout.index("{") :])["files"]
    told = {
        Path(path).parent.name: [one["msg"] for one in file["errors"] if one["severity"] in ("error", "warning")]
        for path, file in found.items()
    }
    assert told.get("good", []) == []
    assert told["broken"]
