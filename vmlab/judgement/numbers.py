"""Numbers in words: so many digits that two which differ look different."""

_MANY = 1_000


def number(value: float) -> str:
    """Four significant digits; whole numbers from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.4g}"


def percent(fraction: float) -> str:
    """With its sign: `+4.1 %`."""
    return f"{100 * fraction:+.3g} %"
