"""Find a reviewer's quote in the text again: pure, with bounded cost on long texts.

A quote is looked for in this order, and the first hit wins:

1. exactly as it stands;
2. with white space runs read as one space and typographic quotation marks, dashes and spaces
   read as plain ones;
3. abbreviated: two halves around ``[...]`` or an ellipsis, each by 1 or 2;
4. loosely: the stretch with the fewest single-character edits, at most a tenth of the quote.

Among equal hits the first at or after the expected position wins, because reviewers list steps
in the order of the text; else the nearest before it. A quote that is not found is rejected with
the reason: nothing is guessed.
"""

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from dca.domain.spans import Span

MIN_SIMILARITY = 0.9
"""Smallest 1 - edits / length of a loose hit."""

LONGEST_LOOSE = 2_000
"""Quotes with more code points than this must be found without edits."""

_SHORTEST_LOOSE = 10
"""Shorter quotes allow no edit at all."""

_PLACES = 12
"""Candidate places whose edits are counted, the most promising first."""

_SEED_HITS = 200
"""Occurrences of one piece of a quote that are looked at."""

_WORD_TRIES = 500
"""Occurrences inside longer words that are passed over for one that stands alone."""

_SPACE = re.compile(r"\s+")
_ELLIPSIS = re.compile(r"\s*(?:\[(?:\.{3}|…)\]|(?<=\s)(?:\.{3}|…)(?=\s))\s*")
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "×": "*",
        "÷": "/",
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a quote stands."""

    span: Span
    """Not empty, without surrounding white space."""
    similarity: float
    """1 for a hit without edits, else 1 - edits / length, in [0.9, 1)."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """Why a quote has no place."""

    reason: str
    """One clause, without the quote."""


@dataclass(frozen=True, slots=True)
class Haystack:
    """A text made ready for many quotes."""

    text: str
    plain: str = field(init=False)
    """The text with one space for each run of white space and with plain typography."""
    places: tuple[int, ...] = field(init=False)
    """For each code point of ``plain`` its position in ``text``, and the length at the end."""

    def __post_init__(self) -> None:
        """Work out the plain form."""
        plain, places = _plain(self.text)
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "places", places)

    def find(self, quote: str, *, expected: int = 0) -> Found | NotFound:
        """Return where ``quote`` stands.

        Args:
            quote: What the reviewer copied.
            expected: Where it should begin, a position in the text.
        """
        needle = _plain(quote)[0].strip()
        if not needle:
            return NotFound("the quote is empty")
        return (
            self._whole(quote.strip(), needle, expected)
            or self._abbreviated(quote, expected)
            or self._loose(needle, expected)
        )

    def _whole(self, quote: str, needle: str, expected: int) -> Found | None:
        """Find the quote without edits, as it stands or in plain form."""
        at = _nearest(self.text, quote, expected)
        if at is not None:
            return Found(Span(at, at + len(quote)), 1.0)
        at = _nearest(self.plain, needle, bisect_left(self.places, expected))
        return None if at is None else Found(self._span(at, at + len(needle)), 1.0)

    def _abbreviated(self, quote: str, expected: int) -> Found | None:
        """Find a quote whose middle was left out: the last words must follow the first."""
        parts = [part for part in _ELLIPSIS.split(quote) if part.strip()]
        if len(parts) < 2:
            return None
        ends = (parts[0], parts[-1])
        head, tail = (_plain(part)[0].strip() for part in ends)
        first = self._whole(ends[0].strip(), head, expected)
        if first is None:
            return None
        last = self._whole(ends[1].strip(), tail, first.span.stop)
        if last is None or last.span.start < first.span.stop:
            return None
        return Found(Span(first.span.start, last.span.stop), 1.0)

    def _loose(self, needle: str, expected: int) -> Found | NotFound:
        """Find the stretch with the fewest edits, among the most promising places."""
        if not _SHORTEST_LOOSE <= len(needle) <= LONGEST_LOOSE:
            size = "short" if len(needle) < _SHORTEST_LOOSE else "long"
            return NotFound(f"the quote is not in the text and too {size} to be matched loosely")
        edits = int(len(needle) * (1 - MIN_SIMILARITY) + 1e-9)
        wanted = bisect_left(self.places, expected)
        best: tuple[int, bool, int, Span] | None = None
        for place in _promising(self.plain, needle, edits):
            hit = _fewest_edits(self.plain, needle, (place, edits))
            if hit is not None:
                count, start, stop = hit
                rank = (count, start < wanted, abs(start - wanted), self._span(start, stop))
                best = rank if best is None else min(best, rank)
        if best is None:
            return NotFound(f"no stretch of the text is {MIN_SIMILARITY:.0%} similar to the quote")
        return Found(best[3], 1 - best[0] / len(needle))

    def _span(self, start: int, stop: int) -> Span:
        """Map a stretch of ``plain`` that neither begins nor ends with a space to the text."""
        return Span(self.places[start], self.places[stop - 1] + 1)


def _plain(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the plain form of ``text`` and the position of each of its code points."""
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for gap in _SPACE.finditer(text):
        pieces.append(text[last : gap.start()])
        pieces.append(" ")
        places.extend(range(last, gap.start() + 1))
        last = gap.end()
    pieces.append(text[last:])
    places.extend(range(last, len(text) + 1))
    return "".join(pieces).translate(_PLAIN), tuple(places)


def _nearest(text: str, quote: str, expected: int) -> int | None:
    """Return where ``quote`` begins: the first place from ``expected`` on, else the last before.

    A place where the quote is a part of a longer word or number counts only when none of the
    first few hundred places stands alone.
    """
    spare: int | None = None
    at = text.find(quote, expected)
    for _ in range(_WORD_TRIES):
        if at < 0:
            break
        if _stands_alone(text, at, at + len(quote)):
            return at
        spare = at if spare is None else spare
        at = text.find(quote, at + 1)
    at = text.rfind(quote, 0, max(0, expected + len(quote) - 1))
    for _ in range(_WORD_TRIES):
        if at < 0:
            break
        if _stands_alone(text, at, at + len(quote)):
            return at
        spare = at if spare is None else spare
        at = text.rfind(quote, 0, at + len(quote) - 1)
    return spare


def _stands_alone(text: str, start: int, stop: int) -> bool:
    """Tell whether ``[start, stop)`` cuts no word or number at either end."""
    cut_left = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    cut_right = stop < len(text) and text[stop - 1].isalnum() and text[stop].isalnum()
    return not cut_left and not cut_right


def _promising(text: str, needle: str, edits: int) -> list[int]:
    """Return places where the needle may begin, the most promising first.

    A needle cut into more pieces than it may have edits keeps at least one piece intact, so
    every hit lies near an exact occurrence of some piece. Places are grouped by twice the edits.
    """
    count = edits + 1
    size = len(needle) // count
    votes: Counter[int] = Counter()
    for piece in range(count):
        offset = piece * size
        seed = needle[offset : offset + size]
        at = text.find(seed)
        for _ in range(_SEED_HITS):
            if at < 0:
                break
            votes[max(0, at - offset) // (2 * count)] += 1
            at = text.find(seed, at + 1)
    return [group * 2 * count for group, _ in votes.most_common(_PLACES)]


def _fewest_edits(text: str, needle: str, where: tuple[int, int]) -> tuple[int, int, int] | None:
    """Return edits, start and stop of the best stretch near a place, or ``None`` when none fits.

    ``where`` is the place and the number of edits allowed.
    """
    place, edits = where
    left = max(0, place - 2 * edits - 2)
    window = text[left : place + len(needle) + 4 * edits + 4]
    count, stop = _best_end(needle, window, anchored=False)
    if count > edits:
        return None
    # Backwards from the end that was found, then forwards from the beginning that this gives.
    reach = len(needle) + edits
    _, length = _best_end(needle[::-1], window[max(0, stop - reach) : stop][::-1], anchored=True)
    start = stop - length
    _, length = _best_end(needle, window[start : start + reach], anchored=True)
    body = window[start : start + length]
    start += left + len(body) - len(body.lstrip())
    return count, start, start + len(body.strip())


def _best_end(needle: str, text: str, *, anchored: bool) -> tuple[int, int]:
    """Return the fewest edits that turn a stretch of ``text`` into ``needle``, and its end.

    Myers' bit-parallel edit distance: one big integer holds a column of the table of distances,
    so a column costs a few integer operations whatever the length of the needle.

    Args:
        needle: Pattern, not empty.
        text: Where to look.
        anchored: The stretch begins at the beginning of ``text``; else it begins anywhere.
    """
    full = (1 << len(needle)) - 1
    high = 1 << (len(needle) - 1)
    equal: dict[str, int] = {}
    for place, character in enumerate(needle):
        equal[character] = equal.get(character, 0) | 1 << place
    plus, minus, score = full, 0, len(needle)
    best, end = score, 0
    for place, character in enumerate(text, 1):
        match = equal.get(character, 0)
        vertical = match | minus
        horizontal = (((match & plus) + plus) ^ plus) | match
        up = minus | ~(horizontal | plus) & full
        down = plus & horizontal
        score += bool(up & high) - bool(down & high)
        up = (up << 1 | anchored) & full
        down = down << 1 & full
        plus = (down | ~(vertical | up)) & full
        minus = up & vertical
        # Equal ends of an anchored stretch: the one that is as long as the needle is meant.
        nearer = anchored and abs(place - len(needle)) < abs(end - len(needle))
        if score < best or (score == best and nearer):
            best, end = score, place
    return best, end
