"""The whole job on one file, offline: import, review, consensus, credit, export, training."""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from dca.domain.errors import MissingExtra
from dca.domain.labels import CONTRIBUTION_V1
from dca.pipeline.consensus import ConsensusResult, settle_store
from dca.pipeline.credit import CreditResult, assign_store
from dca.pipeline.export import ExportOrder, ExportResult, export_store
from dca.pipeline.importing import ImportOptions, ImportResult, import_rollouts
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.review import ReviewResult, review_store
from reviewers.rules import offline_panel
from store.engine import open_store, transaction
from store.rollouts import iter_rollouts
from store.selection import Selection
from training.credit.assigners import ASSIGNERS
from training.tokens import Tokenizer, Utf8Bytes
from training.vocabulary import FastTokenizer

if TYPE_CHECKING:
    from training.run import TrainReport

SAMPLES = 3
"""Prompts that the trained model answers."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the trained model wrote."""

    problem: str
    text: str


@dataclass(frozen=True, slots=True)
class DemoTraining:
    """The training at the end of the demo."""

    report: "TrainReport"
    first_loss: float
    last_loss: float
    samples: tuple[Sampled, ...]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What ``dca demo`` did."""

    bundled: bool
    """True on the bundled rollouts, False on the user's file."""
    store: Path
    imported: ImportResult
    reviewed: ReviewResult
    settled: ConsensusResult
    credited: CreditResult
    exported: tuple[ExportResult, ...]
    tokenizer: str
    """Name of the tokenizer."""
    training: DemoTraining | None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Wall time by stage."""


def demo(
    file: Path | None,
    out: Path,
    *,
    train: bool = False,
    steps: int = 40,
    seed: int = 0,
    progress: Progress | None = None,
) -> DemoResult:
    """Do the whole job and leave everything in the folder ``out``.

    No key, no network, no GPU: the panel is four rules, not language models. Running it again
    continues in the same store, where nothing doubles, and replaces the model.

    Args:
        file: Rollouts in any format that ``dca import`` reads; the bundled ones when ``None``.
        out: Folder for store, exports and model.
        train: Also train a tiny model made from a config, with a tokenizer learnt from the texts.
        steps: Optimizer steps of that training.
        seed: Seed of model, training, sampling and bootstrap.
        progress: Listener.

    Raises:
        FormatError: The file cannot be read.
        NothingSelected: It holds no rollout, or none with a reward.
        MissingExtra: ``train`` without the train extra.
    """
    progress = progress or Silent()
    out.mkdir(parents=True, exist_ok=True)
    store, panel, everything = out / "dca.db", offline_panel(CONTRIBUTION_V1), Selection()
    engine = open_store(str(store))
    clock = _Clock()
    try:
        with clock.of("import"), _source(file) as path:
            options = ImportOptions(rejects=out / "import-rejects.jsonl")
            imported = import_rollouts(engine, [str(path)], options)
        with clock.of("review"):
            reviewed = review_store(engine, panel, everything, progress=progress)
        with clock.of("consensus"):
            settled = settle_store(engine, panel, everything, progress=progress, seed=seed)
        with clock.of("tokenizer"):
            tokenizer = _build(engine, out / "tiny", seed) if train else Utf8Bytes()
        with clock.of("credit"):
            credited = assign_store(
                engine,
                tuple(ASSIGNERS),
                everything,
                labels=CONTRIBUTION_V1,
                tokenizer=tokenizer,
                progress=progress,
            )
        with clock.of("export"):
            orders = [ExportOrder("tokens", out), ExportOrder("spans", out / "spans")]
            exported = tuple(
                export_store(engine, order, labels=CONTRIBUTION_V1, tokenizer=tokenizer)
                for order in orders
            )
        training = None
        if train:
            with clock.of("train"):
                training = _train(engine, out, exported[0].path, steps, seed, progress)
    finally:
        engine.dispose()
    return DemoResult(
        file is None,
        store,
        imported,
        reviewed,
        settled,
        credited,
        exported,
        tokenizer.name,
        training,
        clock.seconds,
    )


class _Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Generator[None]:
        """Measure one stage."""
        started = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - started


@contextmanager
def _source(file: Path | None) -> Generator[Path]:
    """Give the file, or the bundled one as a file on disk."""
    if file is not None:
        yield file
        return
    with as_file(files("dca.demo") / "rollouts.jsonl") as path:
        yield path


def _build(engine: Engine, folder: Path, seed: int) -> Tokenizer:
    """Make the tiny model and return its tokenizer."""
    try:
        from training.tiny import build_tiny  # noqa: PLC0415 - loads torch, which takes seconds
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"--train needs the package {error.name}",
            hint="pip install 'deliberative-credit-assignment[train]'",
        ) from error
    with transaction(engine) as session:
        pages = iter_rollouts(session, Selection())
        texts = [text for page in pages for r in page for text in (r.problem, r.completion)]
    build_tiny(texts, folder, seed=seed)
    return FastTokenizer.load(folder)


def _train(
    engine: Engine, out: Path, rows: Path, steps: int, seed: int, progress: Progress
) -> DemoTraining:
    """Train on the exported rows, then load the checkpoint again and sample from it.

    The rollouts were not sampled by this model and have no behaviour log-probabilities, so the
    objective is weighted imitation of the successes.
    """
    from training.fit import RUN_FILE  # noqa: PLC0415 - loads torch, which takes seconds
    from training.run import TrainConfig, train  # noqa: PLC0415 - only with --train
    from training.tiny import sample  # noqa: PLC0415 - loads torch, which takes seconds

    model, losses = out / "model", list[float]()
    if (model / RUN_FILE).is_file():
        shutil.rmtree(model)  # an earlier demo's: a folder belongs to one run
    progress.start(steps, "train")

    def listen(metrics: object) -> None:
        if isinstance(metrics, dict) and "loss" in metrics:
            losses.append(float(metrics["loss"]))
            progress.advance()

    config = TrainConfig(
        rows=(rows,),
        model=out / "tiny",
        output=model,
        objective="sft",
        steps=steps,
        batch=8,
        learning_rate=3e-3,
        warmup=5,
        save_every=steps,
        max_length=512,
        gradient_checkpointing=False,
        seed=seed,
    )
    report = train(config, listen)
    progress.finish()
    with transaction(engine) as session:
        page = next(iter_rollouts(session, Selection()))
    prompts = list({rollout.group_id: rollout for rollout in page}.values())[:SAMPLES]
    written = sample(report.output, [rollout.prompt for rollout in prompts], seed=seed)
    samples = tuple(
        Sampled(rollout.problem, text.text) for rollout, text in zip(prompts, written, strict=True)
    )
    return DemoTraining(report, losses[0], losses[-1], samples)
