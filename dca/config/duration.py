"""Lengths of time as people write them: ``90s``, ``45m``, ``2h30m``."""

import re

_DURATION = re.compile(r"(?=.)(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def seconds_in(text: str) -> int:
    """Return the seconds that ``text`` says.

    Raises:
        ValueError: It is no length of time, or none at all.
    """
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise ValueError("must be a length of time: 90s, 45m or 2h30m")
    return total


def duration(text: str) -> str:
    """Return ``text`` when it is a length of time."""
    seconds_in(text)
    return text
