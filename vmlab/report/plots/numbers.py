"""Figures and sizes as people read them."""

from vmlab.values.size import size_text

_DIGITS = 4
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def figure(value: float | None) -> str:
    """Three significant digits; whole numbers from a hundred on."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 (a matter of looks)


def short(value: float, top: float = 0.0) -> str:
    """At an axis that goes up to `top`, or in a cell of a map: 23M, 4.5k. 5000 is 5k where 10k stands above it."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3 if top >= 1e4 else 1e4, "k")):  # noqa: PLR2004
        if abs(value) >= factor:
            return f"{value / min(factor, 1e3 if letter == 'k' else factor):.3g}{letter}"
    return f"{value:.4g}"


def cell(value: float) -> str:
    """In a cell of a map, which is narrow: three digits where they suffice."""
    return short(float(f"{value:.3g}")) if abs(value) < 1e3 else short(value)  # noqa: PLR2004


def size(value: float) -> str:
    """Bytes in the largest unit in which they are a short number."""
    whole = size_text(int(value))
    if value == int(value) and len(whole.rstrip("BKMGTPi")) <= _DIGITS:
        return whole
    power = 0
    while value >= 1 << 10 and power + 1 < len(_UNITS):
        value, power = value / (1 << 10), power + 1
    return f"{value:.3g}{_UNITS[power]}"
