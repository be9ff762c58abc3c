"""How plots look. The colours are Okabe and Ito's for the colour-blind, darkened where white paper would swallow them.

Those of a page's style sheet are the same by the names below, and others where the page is dark: `page.css`.
"""

from typing import Any

INK, MUTED, GRID, REFERENCE, LIMIT = "#1b1e24", "#555c69", "#d9dce2", "#6b6f78", "#8f2d56"
COLOURS = ("#0072b2", "#c65400", "#007a55", "#a8517f", "#946200", "#3c4450", "#2f86b8", "#6a4fb3")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = {"ours": "solid", "native": "dashed", "bare": "dashdot", "published": "dotted"}
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    REFERENCE: "--reference",
    LIMIT: "--limit",
    **{colour: f"--c{number}" for number, colour in enumerate(COLOURS)},
}
FONTS = "system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
"""All of them narrower than DejaVu Sans or as wide: that is what matplotlib measures with."""

WIDTH_IN = 5.5
PLOT_IN = 2.8
SIZE_PT = 10.0
"""Of text. A phone shows a plot at eight tenths of its size."""

SETTINGS: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": SIZE_PT,
    "svg.fonttype": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": SIZE_PT + 1,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SIZE_PT - 1,
    "ytick.labelsize": SIZE_PT - 1,
    "legend.fontsize": SIZE_PT - 1,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "hatch.linewidth": 0.6,
}


def colour(number: int) -> str:
    """The ninth is the first again; its marker is not."""
    return COLOURS[number % len(COLOURS)]


def marker(number: int) -> str:
    """Each colour has one, and in its second turn that of its neighbour."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
