"""The page of a night as a browser shows it: green, red and as large as all of Lustre's suites are."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import simulated_nights as simulated
from browser import CHROMIUM, DRIVER, Browser, browser

from vmlab.report.night.page import page
from vmlab.report.pages import html

from .test_pages_in_chromium import LOOKS, wrong

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="Chromium is not installed: scripts/setup --test"),
    pytest.mark.xdist_group("chromium"),
]

NIGHTS = {"green": simulated.green, "red": simulated.red, "huge": simulated.huge}
OPEN_FIRST = "document.querySelector('.listing .unfold').click()"
ROWS = "return document.querySelectorAll('.listing tbody tr').length"
TOLD = "return document.querySelector('.told').textContent"
# From the click to what is to be seen: the next frame has been painted.
CHOSEN = """
return new Promise(done => {
  const begin = performance.now();
  const select = document.querySelectorAll('.controls select')[2];
  select.selectedIndex = [...select.options].findIndex(option => option.value === 'fail');
  select.dispatchEvent(new Event('change'));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
})
"""
READY = """
const [load] = performance.getEntriesByType('navigation');
return load.domComplete - load.startTime
"""
USABLE_MS = 1000


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@cache  # 20,000 sub-tests take seconds
def rendered(name: str) -> str:
    return html.render(page(*NIGHTS[name]()))


def written(name: str, folder: Path) -> Path:
    file = folder / f"{name}.html"
    file.write_text(rendered(name))
    return file


@pytest.mark.parametrize("name", NIGHTS)
def test_a_page_can_be_read(name: str, window: Browser, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    found = {look: complaints for look in LOOKS if (complaints := wrong(window, file, look))}
    assert not found, "\n".join(f"{look}: {line}" for look, lines in found.items() for line in lines)


def test_20000_sub_tests_are_usable_within_a_second(window: Browser, tmp_path: Path) -> None:
    window.look(1280)
    assert not window.open(written("huge", tmp_path))
    assert window.run(READY) < USABLE_MS
    assert window.run(TOLD) == "20000 of 20000, the first 100 are shown"
    assert window.run(ROWS) == 100
    assert window.run(CHOSEN) < USABLE_MS
    assert window.run(TOLD) == "200 of 20000, the first 100 are shown"


def test_a_row_unfolds_to_the_lines_around_its_error(window: Browser, tmp_path: Path) -> None:
    window.look(375)
    window.open(written("red", tmp_path))
    rows = window.run(ROWS)
    window.run(OPEN_FIRST)
    assert window.run(ROWS) == rows + 1
    detail = "return document.querySelector('.detail').textContent"
    assert "LBUG" in window.run(detail)
    window.run("document.querySelector('.controls input').value = '27J'")
    window.run("document.querySelector('.controls input').dispatchEvent(new Event('input'))")
    assert window.run(ROWS) == 1
    window.run(OPEN_FIRST)
    assert simulated.EXCERPT.strip() in window.run(detail)
    links = window.run("return [...document.querySelectorAll('.detail a')].map(one => one.getAttribute('href'))")
    assert links == [
        "../../runs/r/sanity.test_27J.log",
        "../../runs/r/e/index.md",
        "evidence/ha-ldiskfs/suites/index.md",
    ]
    strip = "return document.querySelector('.strip').getAttribute('aria-label')"
    assert window.run(strip) == ", ".join(["passed"] * 6 + ["failed"])


def test_columns_are_sorted_by_a_click(window: Browser, tmp_path: Path) -> None:
    window.look(1280)
    window.open(written("huge", tmp_path))
    window.run("document.querySelectorAll('.listing th button')[5].click()")
    first = "return document.querySelector('.listing tbody tr').cells[5].textContent"
    assert window.run(first) == "299.5"
    window.run("document.querySelectorAll('.listing th button')[5].click()")
    assert window.run(first) == "0.5"


def test_a_script_that_is_not_ours_does_not_run(window: Browser, tmp_path: Path) -> None:
    file = written("green", tmp_path)
    file.write_text(file.read_text().replace("</main>", "<script>document.title = 'theirs'</script></main>"))
    assert any("Content Security Policy" in line for line in window.open(file))
    assert window.run("return document.title") != "theirs"
