"""Values from guests, images, topologies, recorded hosts and runs are data, whatever characters they have.

One test for each door by which they come: what is understood is printed as it is and steers nothing, what is not is
refused in one line. Texts hold what is special to shells, regular expressions, XML, YAML, Rich and terminals.
"""

import contextlib
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from rich.console import Console
from rich.text import Text

from vmlab.domainxml.build import Boot
from vmlab.domainxml.read import read_domain
from vmlab.errors import GuestError, HostError, TopologyError, VmlabError, WorkloadError
from vmlab.guest import console, facts
from vmlab.guest.keys import BedKeys
from vmlab.guest.trouble import SshTrouble
from vmlab.lab.beds.decide import decide_all
from vmlab.lab.beds.plan import look_at_records
from vmlab.lab.ground.progress import Silent
from vmlab.lab.ground.recorded import recorded
from vmlab.lustre import lnetctl, status, survey, target, trouble
from vmlab.plan.desired import Image
from vmlab.plan.observed import Observed
from vmlab.records.run import from_json, to_json
from vmlab.report import tables
from vmlab.report.errors import tell
from vmlab.report.graph import dot, mermaid
from vmlab.report.grid import Grid
from vmlab.report.hostpicture import dot as host_dot
from vmlab.report.inventory import inventory_object, inventory_tables
from vmlab.report.live import Lines
from vmlab.report.plain import dumped
from vmlab.report.plan import document, text
from vmlab.report.progress import Plain
from vmlab.report.run import run_table
from vmlab.report.workloads import runs_table
from vmlab.store.images import Manifest
from vmlab.topology import loads
from vmlab.workloads import Measurement, Output, Task, workloads

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"

SPECIAL = (
    *("$(touch here)", "`id`", "; reboot", "&& :", "| cat", "> x", "*", "~", "'", '"', "\\", "-rf", "--", "%s"),
    *("../..", "/etc/shadow", "\n", "\r", "\t", "\0", " ", "", "\x1b[2J", "\x1b]0;x\x07", "\x9b31m", "\x7f", "\u202e"),
    *("(", "[", "(?P<", ".*", "+)", "\\1", "^$", "{9999999}", "<b>", "</node>", "&amp;", "&x;", "]]>", "<!--", "<?x"),
    *("[red]", "[/]", "[/red]", "[link=file:///x]", ":smile:", "[bold", "{}", "{0.__class__}", "#", ": ", "- ", "!!"),
    *("9" * 5000, "-1", "nan", "1e999", "\ud800", "\udcff", "\ufffe", "\x85", "\u2028", "ä", "A" * 300),
)
nasty = st.lists(st.sampled_from(SPECIAL) | st.text(max_size=8), max_size=4).map("".join)
_XML = re.compile("[\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
in_xml = nasty.filter(lambda text: _XML.fullmatch(text) is not None)

# Line ends are the tables' own; all else that is not printable would steer the terminal.
STEERS = re.compile(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]|[\u2028\u202e\ud800-\udfff]")


def is_tame(said: str) -> None:
    assert STEERS.search(said) is None


def shown(renderable: Any) -> str:
    """What `tables.show` prints, without and with a terminal: the same words."""
    plain = io.StringIO()
    with contextlib.redirect_stdout(plain):
        tables.show(renderable)
    terminal = io.StringIO()
    with contextlib.redirect_stdout(terminal), mock.patch.object(terminal, "isatty", return_value=True):
        tables.show(renderable)
    is_tame(plain.getvalue())
    return plain.getvalue()


def told(error: VmlabError) -> str:
    to = io.StringIO()
    tell(error, to)
    is_tame(to.getvalue())
    return to.getvalue()


def squeezed(text: str) -> str:
    return "".join(text.split())


# --- the faces ---


@given(nasty, nasty)
@example("[red]", "[/]")
@example(":smile:", "[link=file:///x]y")
def test_cells_show_what_they_hold(one: str, other: str) -> None:
    table = Grid("A", "[b]B")
    table.add_row(one, Text(other, "red"))
    said = shown(table)
    assert "[b]B" in said
    for cell in (one, other):
        if cell.isprintable() and len(cell) < 1000:
            assert squeezed(cell) in squeezed(said)


@given(nasty)
def test_errors_and_progress_are_tame(words: str) -> None:
    told(GuestError(words, node=words, stage=words, console=[words], hint=words, causes=[HostError(words)]))
    to = io.StringIO()
    plain = Plain(to)
    console_ = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=200)
    lines = Lines(console_, [words])
    for progress in (plain, lines):
        progress.stage(words, words)
        progress.say(words)
        progress.warn(words)
    console_.print(lines)
    is_tame(to.getvalue())
    is_tame(console_.file.getvalue())  # type: ignore[attr-defined]


def within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(nasty, inner, max_size=3)


anything = st.recursive(nasty | st.none() | st.booleans() | st.integers() | st.floats(), within, max_leaves=5)


@settings(max_examples=50)
@given(anything)
def test_json_is_json(value: Any) -> None:
    json.loads(dumped(value).encode(), parse_constant=pytest.fail)


# --- topologies ---

BED = """
name: NAME
description: DESCRIPTION
image: IMAGE
fabrics:
  ib0: {kind: infiniband, lnet: o2ib, attach: virtio}
  eth: {kind: ethernet, lnet: tcp, attach: bridge, bridge: BRIDGE}
nodes:
  mds1: {role: [mgs, mds], memory: 256MiB, fabrics: [ib0, eth], disks: [{name: DISK, size: 1MiB}]}
  oss1: {role: oss, memory: 256MiB, fabrics: [ib0], host: HOST, avoid: AVOID, template: TEMPLATE}
  client1: {role: client, memory: 256MiB, fabrics: [ib0]}
filesystems:
  FSNAME:
    mgt: {servers: [mds1], size: 64MiB}
    mdts: [{servers: [mds1], size: 64MiB}]
    osts: [{servers: [oss1], device: DEVICE}]
    clients: CLIENTS
    mount: MOUNT
    mkfs_options: MKFS
    mount_options: OPTIONS
"""
SOUND = {
    "NAME": "ha",
    "DESCRIPTION": "a bed",
    "IMAGE": "demo",
    "BRIDGE": "br0",
    "DISK": "scratch",
    "HOST": "local",
    "AVOID": "mds1",
    "TEMPLATE": "server",
    "FSNAME": "lustre",
    "DEVICE": "/dev/vdb",
    "CLIENTS": "client1",
    "MOUNT": "/mnt/lustre",
    "MKFS": "-N 1000",
    "OPTIONS": "flock",
}
NOTHING = Observed({}, {}, {}, pool_path="/pool/beds")
KEYS = BedKeys.fresh(Path("/state/beds/b"))


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(list(SOUND)), nasty, min_size=1, max_size=3))
@example({"IMAGE": "\ufffe"})
def test_topologies(changed: Mapping[str, str]) -> None:
    words = SOUND | changed
    content = re.sub(r"\b[A-Z]{4,}\b", lambda word: json.dumps(words[word[0]]), BED)
    try:
        topology = loads(content, "bed.yaml")
    except TopologyError as error:
        told(error)
        return
    images = {
        ("local", node.image): Image(node.image, "/disk.qcow2", 1, "root", None) for node in topology.nodes.values()
    }
    try:
        prepared = decide_all(topology, {"local": NOTHING}, {}, images=images, keys=KEYS, accel="tcg", restart=False)
    except VmlabError as error:
        told(error)
        return
    for node in prepared.nodes.values():
        read = read_domain(node.xml)
        assert read.metadata is not None
        assert read.metadata.image == node.metadata.image
        assert [yaml for yaml in node.told.documents.values() if json.loads(yaml.removeprefix("#cloud-config\n"))]
    json.loads(dumped(document(prepared)))
    is_tame(text(prepared, io.StringIO()))
    is_tame(tables.summary(topology))
    is_tame(mermaid(topology))
    assert dot(topology).count("graph bed {") == 1


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@settings(max_examples=15)
@given(nasty)
def test_pictures(description: str) -> None:
    content = re.sub(r"\b[A-Z]{4,}\b", lambda w: json.dumps((SOUND | {"DESCRIPTION": description})[w[0]]), BED)
    with contextlib.suppress(TopologyError):
        source = dot(loads(content, "bed.yaml"))
        drawn = subprocess.run(("dot", "-Tsvg"), input=source.encode(), capture_output=True, check=True)
        etree.fromstring(drawn.stdout)


# --- images ---


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(list(Manifest.model_fields)), nasty | st.dictionaries(nasty, nasty)))
def test_images(changed: Mapping[str, Any]) -> None:
    sound: dict[str, Any] = {"name": "demo", "files": {"disk": "d", "kernel": "k"}}
    try:
        manifest = Manifest.model_validate_json(json.dumps(sound | changed))
    except ValueError:
        return
    shown(tables.image_table([(manifest, ["ha.oss1"])]))
    boot = Boot("/k", None, manifest.cmdline)
    topology = loads("name: b\nnodes: {n1: {role: client, memory: 256MiB}}\n", "b.yaml")
    images = {("local", "demo"): Image(manifest.name, "/disk.qcow2", manifest.size, manifest.user, boot)}
    prepared = decide_all(topology, {"local": NOTHING}, {}, images=images, keys=KEYS, accel="tcg", restart=False)
    node = prepared.nodes["n1"]
    read = read_domain(node.xml)
    assert read.metadata is not None
    assert read.metadata.user == manifest.user
    (line,) = etree.fromstring(node.xml).xpath("os/cmdline/text()") or [""]
    assert line == manifest.cmdline
    assert "\n" not in line


# --- recorded hosts ---


@pytest.fixture(scope="module")
def record() -> dict[str, str]:
    folder = ROOT / "tests/hosts/mixed"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


DOMAIN = """<domain type='kvm' id='1'><name>NAME</name><uuid>6a1dc3a2-0000-4000-8000-000000000000</uuid>
<memory>1048576</memory><vcpu cpuset='0'>1</vcpu><description>NAME</description></domain>"""
WORDS = re.compile(r"(?<=>)[^<>\n]+(?=</(?:product|vendor|name|interface|model|arch|state)>)|(?<=interface>)[^<]+")


@settings(max_examples=30)
@given(words=in_xml, every=st.integers(1, 40), first=st.integers(0, 40))
@example(words="[red]<&]]>$(x)", every=1, first=0)
def test_recorded_hosts(
    record: dict[str, str], tmp_path_factory: pytest.TempPathFactory, words: str, every: int, first: int
) -> None:
    folder = tmp_path_factory.mktemp("host")
    count = 0

    def changed(found: "re.Match[str]") -> str:
        nonlocal count
        count += 1
        return escape(words) if count >= first and count % every == 0 else found[0]

    for name, content in record.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(WORDS.sub(changed, content) if name.endswith(".xml") else content)
    (folder / "domains").mkdir()
    (folder / "domains" / "x.xml").write_text(DOMAIN.replace("NAME", escape(words)))
    bed = "name: b\nfabrics: {f: {kind: infiniband, lnet: o2ib, attach: vf, device: {model: %s}}}\nnodes: {n1: %s}\n"
    node = "{role: client, memory: 1GiB, fabrics: [f]}"
    topology = loads(bed % (json.dumps(words[:50] or "*"), node), "b.yaml") if _is_word(words) else None
    try:
        host = recorded(folder)
        shown(inventory_tables(host))
        json.loads(dumped(inventory_object(host)))
        assert host_dot({"local": host}, None).startswith("graph hosts {")
        if topology is not None:
            prepared = look_at_records(topology, [str(folder)], progress=Silent())
            is_tame(text(prepared, io.StringIO()))
    except VmlabError as error:
        told(error)
    finally:
        shutil.rmtree(folder)


def _is_word(text: str) -> bool:
    with contextlib.suppress(TopologyError):
        content = "name: b\nfabrics: {f: {kind: infiniband, device: {model: %s}}}\nnodes: {n1: {role: client}}\n"
        loads(content % json.dumps(text[:50] or "*"), "b.yaml")
        return True
    return False


# --- run.json ---

METRIC = {"metric": "m", "value": 1.5, "unit": "MiB/s", "better": "higher", "group": "g", "labels": {"size": "4096"}}
COMMAND = {
    "measurement": "m",
    "task": "t",
    "node": "n1",
    "argv": ["true"],
    "started": "2026-01-01T00:00:00+00:00",
    "seconds": 1.0,
    "status": 0,
    "timed_out": False,
    "stdout": "t.out",
    "stderr": "t.err",
}
NODE = {
    "name": "n1",
    "roles": ["client"],
    "image": "demo",
    "kernel": "6.1",
    "packages": {"a": "1"},
    "addresses": {"mgmt": "10.0.0.1"},
    "devices": {},
    "vcpus": {"0": [1]},
}
RUN = {
    "schema": 1,
    "id": "20260101T000000Z-ha-rdma",
    "bed": "ha",
    "workload": "rdma",
    "options": {},
    "accel": "tcg",
    "soft": True,
    "vmlab": "0.1",
    "started": "2026-01-01T00:00:00+00:00",
    "ended": "2026-01-01T00:00:01+00:00",
    "nodes": [NODE],
    "commands": [COMMAND],
    "samples": [METRIC, METRIC],
    "problems": [],
    "faults": [],
    "skipped": [],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def with_change(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = with_change(value[path[0]], path[1:], new)
    return changed


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(list(places(RUN))[1:]), anything), min_size=1, max_size=2))
@example([(("samples", 0, "labels", "size"), "9" * 5000)])
@example([(("samples", 0, "value"), float("nan"))])
@example([(("options",), {"a": float("inf")})])
def test_run_records(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    content: Any = RUN
    for path, new in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
            content = with_change(content, path, new)
    try:
        record = from_json(json.loads(json.dumps(content)))
    except ValueError:
        return
    shown(run_table(record))
    shown(runs_table([to_json(record) | {"figures": 1, "tags": (), "note": record.bed}]))
    json.loads(dumped(to_json(record)))


# --- guests ---

READ: Mapping[str, Callable[[str], object]] = {
    "facts": facts.Facts.read,
    "lnetctl": lambda said: (lnetctl.local_nis(said), lnetctl.routes(said), lnetctl.errors(said)),
    "survey": survey.read_survey,
    "status": lambda said: (status.recovery(said), status.devices(said), status.space(said), status.mounts(said)),
    "imports": status.imports,
    "on disk": target.read_on_disk,
    "trouble": trouble.explain,
    "console": lambda said: (console.death(said), console.booted(said), console.last_lines(said)),
    "ssh": SshTrouble.of,
}
SAID = [path.read_text(errors="replace") for path in sorted((CASES / "lustre").glob("*.txt"))]


@st.composite
def damaged(draw: st.DrawFn, seeds: list[str]) -> str:
    """What was really said, with something in its midst, or cut off."""
    said = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(said)))
        end = draw(st.integers(start, min(len(said), start + 40)) | st.just(len(said)))
        said = said[:start] + draw(nasty) + said[end:]
    return said


@settings(max_examples=100)
@given(st.sampled_from(list(READ)), damaged(SAID) | nasty)
def test_guests(door: str, said: str) -> None:
    READ[door](said)


CASE_FILES = [(name, path) for name in sorted(workloads()) for path in sorted(CASES.glob(f"{name}/*/*.txt"))]
TOOLS = [(name, path.read_text(errors="replace")) for name, path in CASE_FILES]


@settings(max_examples=100)
@given(st.data(), st.sampled_from(TOOLS), st.integers(-15, 3))
def test_tools_in_guests(data: st.DataObject, tool: tuple[str, str], status: int) -> None:
    name, said = tool
    kind = workloads()[name]
    task = Task(name="client", node="n1", argv=("x",), deadline_s=1)
    labels = {"verb": "write", "size": "4096", "from": "n1", "to": "n2", "operation": "write", "phase": "failover"}
    measurement = Measurement(name="m", labels=labels, tasks=(task,))
    words = data.draw(damaged([said]))
    output = Output(status, words, data.draw(nasty), seconds=1.0)
    try:
        kind.parse(kind.options(), measurement, {"client": output})
    except WorkloadError as error:
        told(error)
