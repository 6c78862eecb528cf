"""Byte-exact alignment of stored token ids to the completion that they spell.

T = tokens, N = bytes that the tokens spell, C = code points of the completion. Nothing is
tokenized again: the bytes of the stored ids are laid side by side and compared with the text.
Where bytes that are no valid UTF-8 were decoded to U+FFFD, so are they here.
"""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dca.domain.errors import TokenError
from dca.domain.rollout import Message, content_id

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REPLACEMENT = 0xFFFD
_MARK = 0xDC00
"""n replaced bytes decode to the lone surrogate ``_MARK + n``, which no UTF-8 spells."""
_SPACE = 0x20
_NEVER = 0xFF
"""A byte that is invalid wherever it stands."""


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The bytes of a sequence of tokens."""

    data: Bytes
    """The bytes of all tokens, one after the other [N]."""
    lengths: Ints
    """Bytes of each token [T]."""
    special: Bools
    """True for control tokens, which a text may spell or leave out [T]."""
    fallback: Bools
    """True for tokens that stand for one byte each, as ``<0xE2>`` does [T]."""
    strips_lead: bool = False
    """True when the decoder may drop the spaces that the first token starts with."""

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> "Pieces":
        """Return plain pieces, none of them special."""
        none = np.zeros(len(pieces), np.bool_)
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        return cls(np.frombuffer(b"".join(pieces), np.uint8), lengths, none, none)


@dataclass(frozen=True, slots=True, eq=False)
class TokenMap:
    """Where each token stands in a completion.

    A token that the text does not spell, as a silent end token, has an empty range. Bytes that
    were replaced share the three bytes of their U+FFFD in proportion.
    """

    byte_starts: Ints
    """First byte in ``completion.encode()`` [T], never decreasing."""
    byte_stops: Ints
    """One past the last byte [T], never decreasing."""
    offsets: NDArray[np.int32]
    """Code points ``[start, stop)`` that the token has a part of [T, 2], columns never decreasing.

    A character that several tokens spell belongs to all of them.
    """


class Tokenizer(Protocol):
    """A vocabulary: text to ids, and ids to bytes."""

    @property
    def name(self) -> str:
        """Name for people."""
        ...

    @property
    def digest(self) -> str:
        """Content hash of what each id spells: equal digests mean exchangeable ids."""
        ...

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids of ``text``, without added control tokens."""
        ...

    def encode_prompt(self, messages: Sequence[Message]) -> NDArray[np.int32]:
        """Return the ids of a rendered prompt, up to where the completion begins."""
        ...

    def pieces(self, ids: Sequence[int] | NDArray[np.int32]) -> Pieces:
        """Return the bytes of ``ids``; raise ``TokenError`` for an id that is not known."""
        ...


def identity(tokenizer: Tokenizer) -> str:
    """Return ``name@digest``, the form in which ``Tokens.tokenizer`` names a vocabulary."""
    return f"{tokenizer.name}@{tokenizer.digest}"


def split_identity(text: str) -> tuple[str, str]:
    """Return name and digest of ``identity``; the digest is ``""`` when ``text`` has none."""
    name, _, digest = text.rpartition("@")
    return (name, digest) if name else (digest, "")


class Utf8Bytes:
    """One token per byte of UTF-8; an id is the byte's value. Needs nothing installed."""

    name = "utf8-bytes"
    digest = content_id("tokenizer", "utf8-bytes")

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the bytes of ``text``."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def encode_prompt(self, messages: Sequence[Message]) -> NDArray[np.int32]:
        """Return the bytes of the plain rendering."""
        return self.encode(render_plain(messages))

    def pieces(self, ids: Sequence[int] | NDArray[np.int32]) -> Pieces:
        """Return one byte per id."""
        values = np.asarray(ids, np.int64)
        wrong = (values < 0) | (values > 255)
        if wrong.any():
            at = int(wrong.argmax())
            raise TokenError(f"token {at}: id {values[at]} is no byte")
        none = np.zeros(len(values), np.bool_)
        return Pieces(values.astype(np.uint8), np.ones(len(values), np.int64), none, none)


def render_plain(messages: Sequence[Message]) -> str:
    """Return a prompt as text for vocabularies without a chat template."""
    turns = [f"{message.role}: {message.content}\n\n" for message in messages]
    return "".join([*turns, "assistant: "])


def align(completion: str, pieces: Pieces) -> TokenMap:
    """Return where each token stands in ``completion``.

    Control tokens may be spelled or left out; leading spaces, and a character that is cut by the
    end, may be missing where decoders drop them.

    Raises:
        TokenError: the tokens do not spell the text; the message names the place.
    """
    code_C = _codes(completion)
    reached, at_token = -1, 0
    for keep_N in _readings(completion, pieces):
        length_T = _lengths(keep_N, pieces.lengths)
        for got_C in _decodings(pieces.data[keep_N], np.repeat(pieces.fallback, length_T)):
            same = _common(got_C, code_C)
            if same == len(code_C) and _only_a_cut_end(got_C[same:]):
                return _place(length_T, got_C[:same])
            if same > reached:
                reached, at_token = same, _token_at(length_T, got_C[:same])
    raise TokenError(
        f"the token ids do not spell the text: they part at character {reached}, token {at_token},"
        f" near {completion[max(0, reached - 10) : reached + 10]!r}",
        hint="check that tokenizer and completion belong together",
    )


def _readings(completion: str, pieces: Pieces) -> Iterator[Bools]:
    """Yield which bytes the text may show [N], the likeliest first."""
    special_N = np.repeat(pieces.special, pieces.lengths)
    silences = [np.zeros_like(special_N)]
    if special_N.any():
        silences += [special_N, np.repeat(_silent(completion, pieces), pieces.lengths)]
    for silent_N in silences:
        yield ~silent_N
    if not pieces.strips_lead:
        return
    for silent_N in silences:
        shown = np.flatnonzero(~silent_N)
        spaces = int(np.cumprod(pieces.data[shown] == _SPACE).sum())
        for dropped in {1, spaces} if spaces else ():
            keep_N = ~silent_N
            keep_N[shown[:dropped]] = False
            yield keep_N


def _silent(completion: str, pieces: Pieces) -> Bools:
    """Return the control tokens that the text does not spell, decided from left to right [T]."""
    silent_T = np.zeros(len(pieces.lengths), np.bool_)
    stop_T = np.cumsum(pieces.lengths)
    begin = at = 0
    for token in np.flatnonzero(pieces.special):
        start, stop = int(stop_T[token] - pieces.lengths[token]), int(stop_T[token])
        at += len(_decode(pieces.data[begin:start]))
        spelled = pieces.data[start:stop].tobytes().decode("utf-8", "replace")
        if completion.startswith(spelled, at):
            at += len(spelled)
        else:
            silent_T[token] = True
        begin = stop
    return silent_T


def _lengths(keep_N: Bools, length_T: Ints) -> Ints:
    """Return the kept bytes of each token [T]."""
    kept = np.concatenate([[0], np.cumsum(keep_N)])
    stop_T = np.cumsum(length_T)
    return kept[stop_T] - kept[stop_T - length_T]


def _decodings(raw: Bytes, fallback_N: Bools) -> Iterator[NDArray[np.uint32]]:
    """Yield the code points that decoders make of ``raw``, marks where they replace bytes.

    Most replace each maximal invalid part; decoders with byte fallback replace every byte of a
    run of fallback tokens that is not valid as a whole.
    """
    drawn = _decode(raw)
    yield _codes(drawn)
    if fallback_N.any() and not drawn.isascii():
        yield _codes(_decode(_without_broken_runs(raw, fallback_N)))


def _without_broken_runs(raw: Bytes, fallback_N: Bools) -> Bytes:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], fallback_N, [False]]).astype(np.int8)))
    broken = raw.copy()
    for start, stop in edges.reshape(-1, 2):
        if _MARKS.intersection(_decode(raw[start:stop])):
            broken[start:stop] = _NEVER
    return broken


_MARKS = frozenset(chr(_MARK + count) for count in (1, 2, 3))


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Decode an invalid part to the mark of its length: a codec error handler without state."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return chr(_MARK + error.end - error.start), error.end


codecs.register_error("dca-mark", _mark)


def _decode(raw: Bytes) -> str:
    return raw.tobytes().decode("utf-8", "dca-mark")


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _is_mark(code_C: NDArray[np.uint32]) -> Bools:
    return (code_C > _MARK) & (code_C <= _MARK + 3)


def _common(got_C: NDArray[np.uint32], code_C: NDArray[np.uint32]) -> int:
    """Return how many code points agree from the start, a mark reading as U+FFFD."""
    count = min(len(got_C), len(code_C))
    read_C = np.where(_is_mark(got_C[:count]), REPLACEMENT, got_C[:count])
    differ = read_C != code_C[:count]
    return int(differ.argmax()) if differ.any() else count


def _only_a_cut_end(rest: NDArray[np.uint32]) -> bool:
    """Tell whether at most one replaced part is left beyond the text."""
    return len(rest) == 0 or (len(rest) == 1 and bool(_is_mark(rest)[0]))


def _widths(code_C: NDArray[np.uint32]) -> Ints:
    """Return the bytes that spell each code point; those that a mark counts [C]."""
    plain = 1 + (code_C > 0x7F).astype(np.int64) + (code_C > 0x7FF) + (code_C > 0xFFFF)
    return np.where(_is_mark(code_C), code_C.astype(np.int64) - _MARK, plain)


def _token_at(length_T: Ints, same_C: NDArray[np.uint32]) -> int:
    return int(np.searchsorted(np.cumsum(length_T), _widths(same_C).sum(), side="right"))


def _place(length_T: Ints, got_C: NDArray[np.uint32]) -> TokenMap:
    """Return the ranges of tokens of ``length_T`` bytes in the text that ``got_C`` decodes to."""
    width_C = _widths(got_C)
    char_N = np.repeat(np.arange(len(got_C)), width_C)
    total = len(char_N)
    stop_T = np.minimum(np.cumsum(length_T), total)
    start_T = np.minimum(np.cumsum(length_T) - length_T, total)
    byte_N = _shown_bytes(width_C, char_N, _is_mark(got_C))
    first_T = np.append(char_N, len(got_C))[start_T]
    last_T = np.concatenate([[0], char_N + 1])[stop_T]
    offsets = np.stack([first_T, last_T], axis=1).astype(np.int32)
    return TokenMap(byte_N[start_T], byte_N[stop_T], offsets)


def _shown_bytes(width_C: Ints, char_N: Ints, mark_C: Bools) -> Ints:
    """Return where in the shown text each spelled byte starts, and where the last ends [N + 1]."""
    if not mark_C.any():
        return np.arange(len(char_N) + 1)
    shown_C = np.where(mark_C, 3, width_C)
    within_N = np.arange(len(char_N)) - (np.cumsum(width_C) - width_C)[char_N]
    byte_N = (np.cumsum(shown_C) - shown_C)[char_N]
    byte_N += shown_C[char_N] * within_N // width_C[char_N]
    return np.append(byte_N, shown_C.sum())
