"""What an import is asked for, how far it is, and what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dca.formats.build import MAX_CHARS
from dca.formats.marks import THINK_TAGS
from dca.formats.verify import Outcome
from training.tokens import Tokenizer


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Everything that a user may ask of an import."""

    format: str | None = None
    """Name of a format; ``None`` tells it by the content."""
    mapping: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fact to column, as in ``{"prompt": "question", "reward": "score"}``."""
    verify: str | None = None
    """``exact``, ``numeric``, ``choice`` or ``math``: compute the reward from the truth."""
    think_tags: tuple[str, str] = THINK_TAGS
    """Marks around the chain of thought."""
    max_chars: int = MAX_CHARS
    """Longest prompt and longest completion, in code points."""
    rejects: Path = Path("import-rejects.jsonl")
    """Where records that are not imported go; written only when there are some, and with a number
    in its name when the name is taken."""
    tokenizer: Tokenizer | None = None
    """Makes approximate token ids for rollouts that come without ids."""
    task: str = ""
    """Task of rollouts whose source names none."""
    model: str = ""
    """Model of rollouts whose source names none."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is."""

    source: str
    rows: int
    """Rows read so far, over all sources."""
    new: int
    unchanged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did. Every row read is in exactly one of the three counts."""

    new: int
    unchanged: int
    """Already stored, or the same record again, such as a copy in another source."""
    rejected: int
    """More than 0 makes the import partial."""
    rejects_path: Path | None
    """The file that this import wrote; ``None`` when nothing was rejected."""
    formats: Mapping[str, str]
    """Source to the name of its format, ``""`` for a source without a usable row."""
    verified: Mapping[Outcome, int]
    """Outcomes of the verification; empty without one."""
    approximate: int
    """Rollouts whose token ids were made from the text."""
    misplaced: int
    """Rollouts whose offsets did not fit their text and are not stored; ``meta`` says why."""
    job: int
    """Number of the job in the store."""
