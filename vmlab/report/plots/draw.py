"""A chart as SVG or PNG, by matplotlib. Text stays text in SVG; what is drawn twice is the same twice."""

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from lxml import etree

from vmlab.report.plots.bars import draw_bars
from vmlab.report.plots.chart import Bars, Chart, HeatMap, Lines, Mixed, Panels
from vmlab.report.plots.curves import draw_lines, draw_panels
from vmlab.report.plots.heat import draw_heat
from vmlab.report.plots.look import FONTS, SETTINGS, VARIABLES
from vmlab.report.plots.mixed import draw_mixed
from vmlab.report.plots.seats import draw_seats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_COLOUR = re.compile("|".join(VARIABLES))
_FONT = re.compile(r"'DejaVu Sans'(?:, [^;\"]*)?")
_HREF = "{http://www.w3.org/1999/xlink}href"
_DPI = 160


def svg(chart: Chart) -> str:
    """A file of its own, on white."""
    return etree.tostring(_tree(chart, paper="#ffffff"), encoding="unicode") + "\n"


def png(chart: Chart) -> bytes:
    """The same in pixels, 960 wide."""
    return _written(chart, "png", paper="#ffffff")


def inline(chart: Chart, name: str) -> str:
    """For a page, which has the title: with the page's colours, be it light or dark. `name` is its own in the page."""
    tree = _tree(replace(chart, title=""), paper="none")
    for element in tree.iter(etree.Element):
        for key, value in _attributes(element):
            element.set(key, _COLOUR.sub(lambda found: f"var({VARIABLES[found[0]]})", value))
    return embedded(tree, name, chart.title)


def embedded(tree: etree._Element, name: str, title: str) -> str:
    """SVG as an image in a page: IDs of its own, the title for who cannot see it."""
    for element in tree.iter(etree.Element):
        for key, value in _attributes(element):
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key == _HREF and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            else:
                element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
    tree.set("role", "img")
    tree.set("aria-label", title)
    return etree.tostring(tree, encoding="unicode")


def _attributes(element: etree._Element) -> list[tuple[str, str]]:
    return [(str(key), str(value)) for key, value in element.attrib.items()]


def _tree(chart: Chart, *, paper: str) -> etree._Element:
    tree = etree.fromstring(_written(chart, "svg", paper=paper), etree.XMLParser(remove_comments=True))
    for element in tree.iter("{*}metadata"):
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)
    for element in tree.iter(etree.Element):
        if style := element.get("style"):
            element.set("style", _FONT.sub(FONTS, style))
    return tree


def _written(chart: Chart, form: str, *, paper: str) -> bytes:
    import matplotlib as mpl  # noqa: PLC0415  slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    file = io.BytesIO()
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": "vmlab"}):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, chart)
        more = {"metadata": {"Date": None, "Creator": None}} if form == "svg" else {"dpi": _DPI}
        figure.savefig(file, format=form, facecolor=paper, **more)
    return file.getvalue()


def _draw(figure: "Figure", chart: Chart) -> None:
    match chart:
        case Lines():
            draw_lines(figure, chart)
        case Mixed():
            draw_mixed(figure, chart)
        case Bars():
            draw_bars(figure, chart)
        case HeatMap():
            draw_heat(figure, chart)
        case Panels():
            draw_panels(figure, chart)
        case _:
            draw_seats(figure, chart)
