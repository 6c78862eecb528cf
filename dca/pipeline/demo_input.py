"""What ``dca demo`` works on: the bundled rollouts, the user's files or standard input."""

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from sys import float_info

from sqlalchemy import Engine

from dca.domain.errors import FormatError, MissingInput, NothingSelected, TokenError
from dca.domain.rollout import Rollout
from dca.formats.detect import MAP_HINT
from dca.formats.source import Source
from dca.pipeline.importing import ImportOptions, ImportResult, Prepared, prepare_import
from dca.pipeline.token_views import view_tokens
from store.engine import transaction
from store.rollouts import count_rollouts, iter_rollouts
from store.selection import RewardBound, Selection
from training.tokens import Tokenizer, split_identity

BUNDLED = "dca"
"""Name of the store of the bundled rollouts, without its suffix."""
STANDARD_INPUT = "-"
DIGITS = 8
"""Hexadecimal digits of the content in a store's name."""


@contextmanager
def demo_source(file: Path | None) -> Generator[Path]:
    """Give the input as something on disk: standard input is kept in a file for the while."""
    if file is None:
        with as_file(files("dca.demo") / "rollouts.jsonl") as path:
            yield path
    elif str(file) == STANDARD_INPUT:
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "stdin.jsonl"
            with kept.open("wb") as stream:
                shutil.copyfileobj(sys.stdin.buffer, stream)
            yield kept
    else:
        yield file


def prepare_demo(path: Path, options: ImportOptions) -> Prepared:
    """Look at the input; the demo has no ``--map``, so that hint names the command that has."""
    try:
        return prepare_import([str(path)], options)
    except FormatError as error:
        if error.hint != MAP_HINT:
            raise
        hint = (
            "The demo takes no --map: bring the file into a store with "
            "`dca import FILE --map prompt=COLUMN,completion=COLUMN,reward=COLUMN`."
        )
        raise FormatError(str(error), hint=hint) from error


def store_name(path: Path, sources: Sequence[Source]) -> str:
    """Return the name of an input's store: its own up to the first dot, and its content.

    The same content is the same store, wherever it lies; other content never shares one.
    """
    found = hashlib.sha256()
    for source in sources:
        if source.path is not None:
            with source.path.open("rb") as stream:
                found.update(hashlib.file_digest(stream, "sha256").digest())
    stem = re.sub(r"[^\w-]+", "_", path.name.split(".")[0]).strip("_")
    return f"{stem or 'rollouts'}-{found.hexdigest()[:DIGITS]}"


def check_rewards(engine: Engine, imported: ImportResult) -> None:
    """Raise ``NothingSelected`` when there is no rollout or none has a reward."""
    with transaction(engine) as session:
        total = count_rollouts(session, Selection())
        bounds = (RewardBound(">=", -float_info.max),)
        known = count_rollouts(session, Selection(rewards=bounds))
    if not total:
        raise NothingSelected("the file holds no rollout")
    if not known:
        rejects = f"; rejected {imported.rejected}, see {imported.rejects_path}"
        raise NothingSelected(
            f"no rollout has a reward{rejects if imported.rejected else ''}",
            hint="Import again with `dca import FILE --map reward=COLUMN`, or with --verify and a "
            "truth column.",
        )


def unusable_ids(engine: Engine, tokenizer: Tokenizer, *, only: bool) -> int:
    """Return how many rollouts bring token ids, when these cannot be used as they are; else 0.

    They cannot when some have no place in their text, or when one file would hold ids of several
    tokenizers.

    Args:
        engine: The store.
        tokenizer: The one of rollouts that bring no ids.
        only: Ids of any other tokenizer are of no use.
    """
    stored, origins = 0, {tokenizer.digest} if only else set[str | None]()
    with transaction(engine) as session:
        for page in iter_rollouts(session, Selection()):
            stored += sum(rollout.tokens is not None for rollout in page)
            origins |= {_origin(rollout, tokenizer) for rollout in page}
    return stored if len(origins) > 1 or None in origins else 0


def _origin(rollout: Rollout, tokenizer: Tokenizer) -> str | None:
    """Return the tokenizer of a rollout's ids, ``None`` when they cannot be placed."""
    if rollout.tokens is None:
        return tokenizer.digest
    try:
        name, digest = split_identity(view_tokens(rollout, tokenizer).tokenizer)
    except (MissingInput, TokenError):
        return None
    return digest or name
