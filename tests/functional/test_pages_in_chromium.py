"""Pages as a browser shows them: nothing complains, nothing sticks out, all can be read. The runs are simulated."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import axe_core_python
import pytest
import simulated_runs as simulated
from browser import CHROMIUM, DRIVER, Browser, browser

from vmlab.report.benchmark.page import Asked, page
from vmlab.report.benchmark.published import read_published
from vmlab.report.pages import html
from vmlab.topology import load

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="Chromium is not installed: scripts/setup --test"),
    pytest.mark.xdist_group("chromium"),
]

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
TOPOLOGY = Path(__file__).parents[2] / "topologies/ha-topology.yaml"
THEIRS = "series: [{source: Them, name: a, metric: bandwidth, unit: MiB/s, x: size, points: {1024: 900}}]"
RATES = "series: [{source: Them, name: a, metric: iops, unit: IOPS, x: tasks, points: {1: 20000, 128: 478000}}]"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"width": 1280},
    "dark": {"width": 1280, "dark": True},
    "phone": {"width": 375},
    "phone, dark": {"width": 375, "dark": True},
    "paper": {"width": 794, "media": "print"},
}
JUDGED = ("light", "dark")
"""Where axe-core looks at it: colours are those of one of these, and what else it judges does not change."""

STICKS_OUT = """
const wide = document.documentElement.clientWidth, found = [];
if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
for (const one of document.body.querySelectorAll("*")) {
  if (one.closest(".scrolls, pre, .white, svg")) continue;
  const box = one.getBoundingClientRect();
  if (box.width && (box.right > wide + 1 || box.left < -1))
    found.push(one.tagName + ": " + one.textContent.slice(0, 60));
}
return found;
"""
# Words of plots may neither lie on each other nor leave their picture.
COLLIDES = """
const found = [];
for (const picture of document.querySelectorAll(".picture > svg")) {
  const frame = picture.getBoundingClientRect();
  const words = [...picture.querySelectorAll("text")].filter(one => one.textContent.trim());
  const boxes = words.map(one => one.getBoundingClientRect());
  boxes.forEach((box, place) => {
    const said = words[place].textContent.trim();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 2
        || box.bottom > frame.bottom + 2)
      found.push(`${said} leaves its picture`);
    for (let other = place + 1; other < boxes.length; other++) {
      const across = Math.min(box.right, boxes[other].right) - Math.max(box.left, boxes[other].left);
      const down = Math.min(box.bottom, boxes[other].bottom) - Math.max(box.top, boxes[other].top);
      if (across > 1 && down > 0.3 * Math.min(box.height, boxes[other].height))
        found.push(`${said} on ${words[other].textContent.trim()}`);
    }
  });
}
return found;
"""
# axe-core takes minutes for thousands of elements. One row is as the next; colours in SVG are judged by test_plots.
SHORTEN = """
document.querySelectorAll("tbody").forEach(one => [...one.rows].slice(4).forEach(row => row.remove()));
document.querySelectorAll(".picture svg").forEach(one => one.replaceChildren());
"""
HEAD = "<!DOCTYPE html><html lang=en><head><title>t</title></head><body><main><h1>t</h1>"
UNFOLD = "document.querySelectorAll('details').forEach(one => one.open = true)"


def pages() -> dict[str, Callable[[], str]]:
    curves = replace(
        simulated.with_topology(simulated.rdma_curves(), load(TOPOLOGY)),
        commands=(simulated.command("2026-08-01T02:00:10+00:00", 20),),
        notes=("a note",),
    )
    everything = Asked(published=read_published(THEIRS, "f"), loads={curves.id: simulated.load()})
    plain = Asked()
    return {
        "all parts": lambda: html.render(page([curves], everything)),
        "maps and scaling": lambda: html.render(page([simulated.transfer_nodes()], plain)),
        "lines and columns": lambda: html.render(
            page([simulated.burst_buffer(n, n) for n in (1, 2)], Asked(published=read_published(RATES, "f")))
        ),
        "bare and guests, two cells": lambda: html.render(
            page([simulated.selftest(4, 2), replace(simulated.two_cells(), workload="other")], plain)
        ),
        "rows by bed": lambda: html.render(page([*simulated.seven_clients()], plain)),
        "one point": lambda: html.render(page([simulated.one_point()], plain)),
        "500 points": lambda: html.render(page([simulated.many_points(500)], plain)),
        "long names": lambda: html.render(page([simulated.long_names()], plain)),
        "no spread": lambda: html.render(page([replace(simulated.rdma_curves(), trials=1)], plain)),
        "doubts": lambda: html.render(
            page([replace(simulated.doubtful(), id="other"), *simulated.pinned_and_floating()], plain)
        ),
    }


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def wrong(window: Browser, file: Path, look: str) -> list[str]:
    """What a reader with these eyes, and this screen, would stumble on."""
    window.look(**LOOKS[look])
    found = window.open(file)
    window.run(UNFOLD)
    found += window.run(STICKS_OUT) + window.run(COLLIDES)
    if look in JUDGED:
        window.run(SHORTEN)
        rules = {"runOnly": ["wcag2a", "wcag2aa", "best-practice"], "resultTypes": ["violations"]}
        broken = window.run(f"{AXE};return axe.run(document, {json.dumps(rules)}).then(done => done.violations)")
        found += [f"{one['id']}: {one['help']}: {node['html'][:120]}" for one in broken for node in one["nodes"][:3]]
    return found + window.complaints()


@pytest.mark.parametrize("name", pages())
def test_a_page_can_be_read(name: str, window: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(pages()[name]())
    found = {look: complaints for look in LOOKS if (complaints := wrong(window, file, look))}
    assert not found, "\n".join(f"{look}: {line}" for look, lines in found.items() for line in lines)


def test_on_paper_folded_tables_are_there(window: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(html.render(page([simulated.rdma_curves()], Asked(), pictures=False)))
    window.look(1280)
    window.open(file)
    seen = "return document.querySelector('details table').checkVisibility()"
    assert window.run(seen) is False
    window.look(794, media="print")
    assert window.run(seen) is True
    assert window.printed().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("<script>nothing.there()</script>", "Uncaught ReferenceError"),
        ("<p style='width: 2000px'>wide</p>", "the page is 2"),
        ("<p style='color: #aaa; background: #fff'>pale</p>", "color-contrast"),
        ("<div class=picture><svg><text y=20>one</text><text x=5 y=20>two</text></svg></div>", "one on two"),
        ("<div class=picture><svg width=50><text y=20>far too long a word</text></svg></div>", "leaves its picture"),
    ],
    ids=["script", "overflow", "contrast", "overlap", "outside"],
)
def test_what_is_wrong_is_seen(body: str, complaint: str, window: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(HEAD + body)
    assert any(complaint in found for found in wrong(window, file, "light"))
