"""What plots say: their words as text, and colours that people can see. All series are simulated."""

import io
import re
from itertools import combinations
from pathlib import Path

import pytest
from lxml import etree
from PIL import Image

from vmlab.report.plots import look
from vmlab.report.plots.chart import (
    Axis,
    Bar,
    Bars,
    Chart,
    HeatMap,
    Limit,
    Line,
    Lines,
    Mixed,
    Panels,
    Point,
    Seat,
    Seats,
)
from vmlab.report.plots.draw import inline, png, svg
from vmlab.report.plots.numbers import cell, figure, short, size

STYLE = Path(look.__file__).parents[1] / "pages/templates/page.css"


def line(name: str, count: int = 8, factor: float = 1.0, spread: float = 0.0, **more: object) -> Line:
    values = [(float(1 << n), factor * (n + 1)) for n in range(count)]
    return Line(name, [Point(x, y, y - spread, y + spread) for x, y in values], **more)  # type: ignore[arg-type]


LONG = "client-with-a-very-long-name.rack-17.cluster.institute.example.org"
TASKS = Axis("tasks", form="count", scale="log2")
CHARTS: dict[str, Chart] = {
    "curves": Lines(
        "simulated curves",
        Axis("size", "", "log2", "size"),
        Axis("bandwidth", "MiB/s"),
        [line("write", spread=0.5), line("", factor=1.1, kind="native"), line("published: x (y)", kind="published")],
        Limit(12, "limit: as given"),
    ),
    "lines and columns": Mixed(
        "simulated lines and columns",
        Lines("", TASKS, Axis("bandwidth", "MiB/s"), [line("write"), line("read", factor=0.9)], Limit(12, "limit: x")),
        Lines(
            "",
            TASKS,
            Axis("rate", "op/s"),
            [
                line("random", factor=1e5, spread=3e4, colour=2),
                line("published: them (S)", 3, 1e5, kind="published", colour=3),
            ],
        ),
    ),
    "one point": Lines("one", Axis("nodes", form="count"), Axis("rate", "op/s"), [line("a", 1)]),
    "many points": Lines(
        "many",
        Axis("time", "s"),
        Axis("rate", "op/s"),
        [Line("a", [Point(x, x % 7, x % 7 - 0.5, x % 7 + 0.5) for x in range(500)])],
    ),
    "latency": Lines("late", Axis("size", "", "log2", "size"), Axis("latency", "us", "log10"), [line("a"), line("b")]),
    "long names": Bars(
        f"a title about {LONG} and about {LONG}",
        Axis("bandwidth", "MiB/s"),
        [
            (
                f"from {LONG}, to {LONG}",
                [Bar("in guests", Point(0, 5, 4, 6)), Bar("on the host", Point(0, 6, 6, 6), "native")],
            )
        ],
    ),
    "map": HeatMap(
        "map", "nodes", "size", ["1", "2", "3"], ["4KiB", LONG], [[101, 102, None], [104, 105, 106]], "MiB/s"
    ),
    "time": Panels(
        "during",
        [
            Lines("", Axis("time", "s"), Axis(n, u), [line("oss1"), line("oss2")])
            for n, u in (("CPUs", ""), ("net", "MiB/s"))
        ],
        [(2, 4)],
    ),
    "seats": Seats(
        "CPUs", 20, [Seat("oss1", frozenset({2, 3}), pinned=True), Seat(LONG, frozenset(range(4, 20)), pinned=False)]
    ),
    "cells": Seats(
        "CPUs by cell",
        8,
        [Seat("oss1", frozenset({2, 3}), pinned=True), Seat("mds1", frozenset({1, 5}), pinned=False, remote=0.25)],
        [("0", (0, 1, 4, 5)), ("1", (2, 3, 6, 7))],
    ),
}


def words(text: str) -> list[str]:
    return [" ".join("".join(one.itertext()).split()) for one in etree.fromstring(text.encode()).iter("{*}text")]


@pytest.mark.parametrize("name", CHARTS)
def test_a_plot_is_a_picture_in_each_form_and_the_same_each_time(name: str) -> None:
    chart = CHARTS[name]
    assert svg(chart) == svg(chart)
    image = Image.open(io.BytesIO(png(chart)))
    assert image.width == int(look.WIDTH_IN * 160)
    colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 10


def test_words_are_text() -> None:
    said = words(svg(CHARTS["curves"]))
    for text in ("simulated curves", "size", "bandwidth [MiB/s]", "16B", "write", "the same on the host"):
        assert text in said
    assert "published: x (y)" in said
    assert "limit: as given" in said
    assert "latency [us]" in words(svg(CHARTS["latency"]))
    assert "MiB/s" in words(svg(CHARTS["map"]))
    assert "oss1 pinned to 2-3" in words(svg(CHARTS["seats"]))


def test_two_axes_have_one_grid_and_each_series_its_place() -> None:
    said = words(svg(CHARTS["lines and columns"]))
    assert {"bandwidth [MiB/s]", "rate [op/s]", "tasks", "write", "random", "published: them (S)", "limit: x"} <= set(
        said
    )
    steps = [["2.5", "5", "7.5", "10", "12.5"], ["200k", "400k", "600k", "800k", "1M"]]
    assert [[one for one in said if one in some] for some in steps] == steps
    assert said.count("0") == 2
    assert {"1", "128"} <= set(said)


def test_cells_are_drawn_apart_and_who_has_memory_elsewhere_is_told() -> None:
    said = words(svg(CHARTS["cells"]))
    assert [one for one in said if one.startswith("cell ")] == ["cell 0", "cell 1"]
    assert said[said.index("cell 0") + 1 : said.index("cell 1")] == ["0", "1", "2", "4", "5", "2"]
    assert "mds1 floats over 1,5, 25 % of its memory in another cell" in said
    assert not any(one.startswith("cell ") for one in words(svg(CHARTS["seats"])))


def test_numbers_of_one_axis_are_in_one_form() -> None:
    chart = Lines("", TASKS, Axis("rate", "op/s"), [line("a", factor=3000)])
    assert {"0", "5k", "10k"} <= set(words(svg(chart)))
    assert "5000" in words(svg(Lines("", TASKS, Axis("rate", "op/s"), [line("a", factor=1000)])))


def test_what_looks_like_a_formula_is_none() -> None:
    chart = Lines("$a_b$ of $c^d", Axis("x"), Axis("y"), [line("$x$"), line("_hidden")])
    said = words(svg(chart))
    assert "$a_b$ of $c^d" in said
    assert {"$x$", "_hidden"} <= set(said)


def test_what_was_not_measured_is_no_number() -> None:
    said = words(svg(CHARTS["map"]))
    assert [one for one in said if one in {"101", "102", "103", "104", "105", "106", "nan"}][:5] == [
        "101",
        "102",
        "104",
        "105",
        "106",
    ]


def test_in_a_page_each_plot_has_its_own_ids_and_the_pages_colours() -> None:
    texts = [inline(CHARTS["curves"], f"p{n}") for n in range(2)]
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in texts]
    assert not ids[0] & ids[1]
    for text, own in zip(texts, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text)) <= own
        assert not re.search("|".join(look.VARIABLES), text)
        assert 'aria-label="simulated curves"' in text


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, str]]:
    return [
        dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    ]


def test_lines_and_words_stand_out_on_light_and_dark_and_printed_paper() -> None:
    """WCAG 2: 4.5 for text, 3 for what a graphic is made of. axe-core looks at neither in SVG."""
    assert len(themes()) == 3
    for theme in themes():
        for name in ("--ink", "--muted", "--link"):
            assert contrast(theme[name], theme["--paper"]) >= 4.5
        for name in (*(f"--c{n}" for n in range(8)), "--reference", "--limit"):
            assert contrast(theme[name], theme["--paper"]) >= 3, (name, theme["--paper"])


def test_the_light_page_has_the_colours_of_a_plot_by_itself() -> None:
    assert {name: colour for colour, name in look.VARIABLES.items()}.items() <= themes()[0].items()


def _seen(colour: str, lacking: str) -> tuple[float, ...]:
    """As who lacks red or green cones sees it, in Oklab-like steps; Viénot, Brettel and Mollon (1999)."""
    rgb = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    mixed = 0.11238 * r + 0.88762 * g if lacking == "red" else 0.29275 * r + 0.70725 * g
    blue = 0.00401 * r - 0.00401 * g + b if lacking == "red" else -0.02234 * r + 0.02234 * g + b
    return tuple(max(0.0, part) ** (1 / 2.4) for part in (mixed, blue))


@pytest.mark.parametrize("lacking", ["red", "green"])
def test_the_first_colours_are_not_the_same_to_the_colour_blind(lacking: str) -> None:
    """Four lines at least; more are told apart by their markers, too."""
    for theme in themes():
        for one, other in combinations([theme[f"--c{n}"] for n in range(4)], 2):
            distance = sum((a - b) ** 2 for a, b in zip(_seen(one, lacking), _seen(other, lacking), strict=True)) ** 0.5
            assert distance > 0.1, (one, other)
    assert len({look.marker(n) for n in range(8)}) == 8


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (0, ("0", "0", "0")),
        (0.01234, ("0.0123", "0.01234", "0.0123")),
        (101.2, ("101", "101.2", "101")),
        (5524.27, ("5,524", "5524", "5524")),
        (46_875, ("46,875", "46.9k", "46.9k")),
        (24e6, ("24,000,000", "24M", "24M")),
    ],
)
def test_numbers(value: float, texts: tuple[str, str, str]) -> None:
    assert (figure(value), short(value), cell(value)) == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0B"), (512, "512B"), (10240, "10KiB"), (10000, "10KB"), (1.5 * 2**20, "1536KiB"), (2**40, "1TiB")],
)
def test_sizes(value: float, text: str) -> None:
    assert size(value) == text
