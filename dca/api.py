"""The Python interface: a project is a store and a configuration.

    import dca

    project = dca.open_project("dca.db")
    project.add("rollouts.jsonl")
    project.review()                        # the offline panel, or one of dca.toml
    version = project.settle().version
    project.credit("deliberative")
    project.export("tokens", "out")

Every call blocks, prints nothing, can be repeated, and works inside a running event loop, as in a
notebook. Errors are those of ``dca.domain.errors`` and say what to do next in ``hint``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import Engine

from dca.config import Config
from dca.domain.consensus import Consensus
from dca.domain.rollout import Rollout
from dca.pipeline.caps import caps_of
from dca.pipeline.consensus import ConsensusResult, settle_store
from dca.pipeline.credit import CreditOptions, CreditResult, assign_store
from dca.pipeline.export import ExportOrder, ExportResult, FileFormat, export_store
from dca.pipeline.importing import ImportOptions, ImportResult, import_rollouts
from dca.pipeline.panels import build_panel
from dca.pipeline.progress import Progress
from dca.pipeline.review import ReviewResult, review_store
from reviewers.protocol import Reviewer
from store.consensus import consensus_of, latest_version
from store.engine import open_store, transaction
from store.rollouts import find_rollout, iter_rollouts
from store.selection import Selection, parse_where
from training.tokens import Tokenizer
from training.vocabulary import load_tokenizer

Panel = str | Sequence[Reviewer]
"""The name of a configured panel, or reviewers."""


class Project:
    """One store with its configuration; a context manager that closes the store."""

    def __init__(self, engine: Engine, config: Config) -> None:
        """Wrap an open store."""
        self.engine = engine
        self.config = config

    def __enter__(self) -> Self:
        """Return the project."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the store's connections."""
        self.engine.dispose()

    def add(self, *sources: str | Path, options: ImportOptions | None = None) -> ImportResult:
        """Import files; see ``dca.pipeline.importing.import_rollouts``."""
        return import_rollouts(
            self.engine, [str(source) for source in sources], options or ImportOptions()
        )

    def rollouts(self, where: str = "") -> Iterator[Rollout]:
        """Yield the selected rollouts, ordered by group; ``where`` as in ``dca ls --where``."""
        with transaction(self.engine) as session:
            for page in iter_rollouts(session, _selection(where)):
                yield from page

    def review(
        self,
        panel: Panel | None = None,
        *,
        where: str = "",
        retry_failed: bool = False,
        progress: Progress | None = None,
    ) -> ReviewResult:
        """Ask a panel about what it has not answered; see ``dca.pipeline.review.review_store``."""
        return review_store(
            self.engine,
            self._panel(panel),
            _selection(where),
            concurrency=self.config.review.concurrency,
            retry_failed=retry_failed,
            caps=caps_of(self.config.review),
            progress=progress,
        )

    def settle(
        self, panel: Panel | None = None, *, where: str = "", progress: Progress | None = None
    ) -> ConsensusResult:
        """Vote; see ``dca.pipeline.consensus.settle_store``."""
        return settle_store(
            self.engine,
            self._panel(panel),
            _selection(where),
            params=self.config.consensus.params(),
            progress=progress,
        )

    def consensus(self, rollout_id: str) -> Consensus | None:
        """Return what the newest version settled for a rollout, named by the start of its id."""
        with transaction(self.engine) as session:
            rollout = find_rollout(session, rollout_id)
            version = latest_version(session, self.config.label_set.name)
            found = consensus_of(session, version.id, [rollout.id]) if version else {}
        return found.get(rollout.id)

    def credit(
        self,
        *methods: str,
        where: str = "",
        tokenizer: str | Tokenizer | None = None,
        retokenize: bool = False,
    ) -> CreditResult:
        """Compute credit, of the configured methods when none is named.

        See ``dca.pipeline.credit.assign_store``; ``retokenize`` sets stored token ids aside.
        """
        config = self.config
        return assign_store(
            self.engine,
            methods or config.credit.methods,
            _selection(where),
            labels=config.label_set,
            options=CreditOptions(
                config.credit.model_dump(exclude={"methods"}),
                success_at=config.project.success_at,
                retokenize=retokenize,
            ),
            tokenizer=self._tokenizer(tokenizer),
        )

    def export(
        self,
        kind: Literal["tokens", "spans", "sft"],
        out: str | Path,
        *,
        method: str = "deliberative",
        file_format: FileFormat | None = None,
        where: str = "",
        tokenizer: str | Tokenizer | None = None,
    ) -> ExportResult:
        """Write files into the folder ``out``; see ``dca.pipeline.export.export_store``."""
        return export_store(
            self.engine,
            ExportOrder(kind, Path(out), method, file_format),
            labels=self.config.label_set,
            success_at=self.config.project.success_at,
            selection=_selection(where),
            tokenizer=self._tokenizer(tokenizer),
        )

    def _panel(self, panel: Panel | None) -> Sequence[Reviewer]:
        """Return the reviewers of a panel, the configured one by default."""
        name = self.config.review.panel if panel is None else panel
        return build_panel(self.config, name) if isinstance(name, str) else name

    def _tokenizer(self, chosen: str | Tokenizer | None) -> Tokenizer | None:
        """Return the tokenizer, the configured one by default."""
        name = self.config.project.tokenizer if chosen is None else chosen
        return load_tokenizer(name) if isinstance(name, str) else name


def open_project(store: str | Path = "dca.db", config: Config | None = None) -> Project:
    """Open a store, made when missing: a SQLite file, ``sqlite://`` in memory, or PostgreSQL.

    Args:
        store: File name or URL.
        config: Settings; the defaults when ``None``. ``dca.config.load`` reads a ``dca.toml``.

    Raises:
        StoreUnreachable: No connection.
        SchemaOutdated: The schema is not the one that this version writes.
    """
    return Project(open_store(str(store)), config or Config())


def _selection(where: str) -> Selection:
    """Return the selection of a search text."""
    return parse_where(where) if where else Selection()
