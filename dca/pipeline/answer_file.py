"""A file of answers with an index: which line answers which question of which dialogue.

The lines are spooled to disk once, and of each only 32 bytes stay in memory, so that a file of a
million answers needs 32 MB whatever their order.
"""

from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from dca.formats.jsonl import jsonl_rows
from dca.formats.row import Reject, Row
from dca.formats.source import Source, open_source
from reviewers.batches.lines import CustomId, Result, read_id, read_result

_DIGITS = 16
"""Hexadecimal digits of a dialogue's id that an index entry holds: 64 bits."""
Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Line:
    """One answer."""

    number: int
    """Line of the file, from 1."""
    custom_id: CustomId
    result: Result
    raw: bytes


@dataclass(slots=True)
class AnswerFile:
    """The answers of a file whose lines can be read."""

    name: str
    stream: BinaryIO
    keys: "array[int]" = field(default_factory=lambda: array("Q"))
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    numbers: "array[int]" = field(default_factory=lambda: array("Q"))
    used: bytearray = field(default_factory=bytearray)
    """For each line whether its dialogue was found."""
    end: int = 0
    _sorted: Numbers = field(default_factory=lambda: np.zeros(0, np.uint64))
    _order: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))

    def add(self, number: int, dialogue: str, raw: bytes) -> None:
        """Note one line."""
        self.stream.write(raw)
        self.keys.append(int(dialogue[:_DIGITS], 16))
        self.starts.append(self.end)
        self.numbers.append(number)
        self.used.append(0)
        self.end += len(raw)

    def sort(self) -> None:
        """Make the index searchable, once every line is noted."""
        keys = np.array(self.keys, np.uint64)
        # Stable: the lines of one dialogue stay in the order of the file.
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def lines_of(self, dialogues: Sequence[str]) -> dict[str, list[Line]]:
        """Return dialogue to its lines in the order of turns; one without any has no entry."""
        wanted = np.array([int(key[:_DIGITS], 16) for key in dialogues], np.uint64)
        first = np.searchsorted(self._sorted, wanted, side="left")
        last = np.searchsorted(self._sorted, wanted, side="right")
        found: dict[str, list[Line]] = {}
        for dialogue, start, stop in zip(dialogues, first, last, strict=True):
            places = [int(self._order[at]) for at in range(int(start), int(stop))]
            lines = [(place, self._line(place)) for place in places]
            mine = [(place, line) for place, line in lines if line.custom_id.dialogue == dialogue]
            for place, _ in mine:
                self.used[place] = 1
            if mine:
                found[dialogue] = sorted(
                    (line for _, line in mine), key=lambda line: line.custom_id.turn
                )
        return found

    def unused(self) -> Iterator[Line]:
        """Yield the lines whose dialogue was not found, in the order of the file."""
        return (self._line(place) for place, used in enumerate(self.used) if not used)

    def _line(self, place: int) -> Line:
        start = self.starts[place]
        stop = self.starts[place + 1] if place + 1 < len(self.starts) else self.end
        self.stream.seek(start)
        raw = self.stream.read(stop - start)
        result = read_result(raw)
        custom_id = read_id(result.custom_id)
        if custom_id is None:
            raise AssertionError("only lines with an id of ours are noted")
        return Line(self.numbers[place], custom_id, result, raw)


@contextmanager
def answer_file(source: Source) -> Generator[tuple[AnswerFile, list[Reject]], None, None]:
    """Give the answers of a source, and its lines that are no answers.

    Raises:
        FormatError: The source cannot be read.
    """
    rejects: list[Reject] = []
    with TemporaryFile() as stream, open_source(source) as opened:
        answers = AnswerFile(source.name, stream)
        for row in jsonl_rows(source.name, opened):
            reason = _note(answers, row) if isinstance(row, Row) else None
            if isinstance(row, Reject):
                rejects.append(row)
            elif reason is not None:
                rejects.append(Reject(source.name, row.line, reason, row.raw))
        answers.sort()
        yield answers, rejects


def _note(answers: AnswerFile, row: Row) -> str | None:
    """Note one line; return what is wrong with it."""
    try:
        name = read_result(row.raw).custom_id
    except msgspec.MsgspecError as error:
        return f"no answer: {error}"
    custom_id = read_id(name)
    if custom_id is None:
        return f"custom_id {name[:80]!r} is not one that dca review --emit writes"
    answers.add(row.line, custom_id.dialogue, row.raw)
    return None
