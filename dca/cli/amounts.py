"""Amounts as people read them: short, and never rounded down to nothing."""

import math

UNITS = ("", "k", "M", "G")


def money(dollars: float) -> str:
    """Return dollars to the cent, less than ten cents with two significant digits."""
    if not dollars:
        return "$0"
    if dollars >= 1000:
        return f"${dollars:,.0f}"
    # Rounded first: 0.0996 is 0.10, not 0.100.
    small = float(f"{dollars:.2g}")
    decimals = max(2, 1 - math.floor(math.log10(small)))
    return f"${dollars:.{decimals}f}"


def rate(number: float) -> str:
    """Return a rate with two significant digits, from 100 on in whole numbers."""
    if not number:
        return "0"
    if number >= 99.5:
        return f"{number:,.0f}"
    small = float(f"{number:.2g}")
    return f"{small:.{max(0, 1 - math.floor(math.log10(small)))}f}"


def compact(count: int) -> str:
    """Return a count with all its digits up to 9,999, then with three: ``12.3k``, ``4.56M``."""
    if count < 10_000:
        return f"{count:,}"
    value, unit = float(f"{count:.3g}"), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 2 - min(2, math.floor(math.log10(value)))
    return f"{value:,.{digits}f}{UNITS[unit]}"


def latency(seconds: float | None) -> str:
    """Return a time with two significant digits: ``0.42 s``, ``12 s``; ``-`` when not known."""
    return "-" if seconds is None else f"{rate(seconds)} s"


def duration(seconds: float) -> str:
    """Return a length of time in at most two units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
