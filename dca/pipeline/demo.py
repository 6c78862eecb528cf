"""The whole job on one file, offline: import, review, consensus, credit, export, training."""

import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from dca.domain.consensus import Status
from dca.domain.errors import MissingExtra
from dca.domain.labels import CONTRIBUTION_V1
from dca.pipeline.consensus import ConsensusResult, settle_store
from dca.pipeline.credit import CreditOptions, CreditResult, assign_store
from dca.pipeline.demo_input import (
    BUNDLED,
    check_rewards,
    demo_source,
    prepare_demo,
    store_name,
    unusable_ids,
)
from dca.pipeline.export import ExportOrder, ExportResult, export_store
from dca.pipeline.importing import ImportOptions, ImportResult, import_rollouts
from dca.pipeline.progress import Progress, Silent
from dca.pipeline.review import ReviewResult, review_store
from reviewers.rules import offline_panel
from store.engine import open_store, transaction
from store.listing import RolloutLine, list_rollouts
from store.rollouts import iter_rollouts
from store.selection import Selection
from training.credit.assigners import ASSIGNERS
from training.tokens import Tokenizer, Utf8Bytes
from training.vocabulary import FastTokenizer

if TYPE_CHECKING:
    from training.run import TrainReport

SAMPLES = 3
"""Prompts that the trained model answers."""
LOOKED_AT = 200
"""Rollouts among which the most disputed one is looked for."""


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
    """When it imported nothing, no other stage was run."""
    reviewed: ReviewResult | None = None
    settled: ConsensusResult | None = None
    credited: CreditResult | None = None
    exported: tuple[ExportResult, ...] = ()
    tokenizer: str = ""
    """Name of the tokenizer."""
    retokenized: int = 0
    """Rollouts whose stored ids were set aside because they cannot be used here; when there are
    any, every row has ids made from the text."""
    training: DemoTraining | None = None
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    """Wall time by stage."""
    replaced: tuple[Path, ...] = ()
    """Those of the exported files that an earlier demo had written."""
    example: str = ""
    """Id of a rollout worth reading: the most disputed one."""


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

    No key, no network, no GPU: the panel is four rules, not language models. Each input has a
    store of its own, named after it and its content, in which running it again continues and
    nothing doubles; the exports and the model are replaced.

    Args:
        file: Rollouts in any format that ``dca import`` reads, also a folder or ``-`` for standard
            input; the bundled ones when ``None``.
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
    if train:
        _check_train()
    clock, options = _Clock(), ImportOptions(rejects=out / "import-rejects.jsonl")
    with demo_source(file) as path:
        prepared = prepare_demo(path, options)
        name = BUNDLED if file is None else store_name(path, prepared.sources)
        store = out / f"{name}.db"
        out.mkdir(parents=True, exist_ok=True)
        engine = open_store(str(store))
        try:
            with clock.of("import"):
                imported = import_rollouts(engine, prepared, options)
            bare = DemoResult(file is None, store, imported, seconds=clock.seconds)
            if imported.rejected and not imported.new + imported.unchanged:
                return bare
            check_rewards(engine, imported)
            return _work(engine, bare, clock, _Wish(out, train, steps, seed, progress))
        finally:
            engine.dispose()


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked of the demo."""

    out: Path
    train: bool
    steps: int
    seed: int
    progress: Progress


def _work(engine: Engine, bare: DemoResult, clock: "_Clock", wish: _Wish) -> DemoResult:
    """Do everything after the import."""
    panel, everything, progress = offline_panel(CONTRIBUTION_V1), Selection(), wish.progress
    with clock.of("review"):
        reviewed = review_store(engine, panel, everything, progress=progress)
    with clock.of("consensus"):
        settled = settle_store(engine, panel, everything, progress=progress, seed=wish.seed)
    with clock.of("tokenizer"):
        tokenizer = _build(engine, wish.out / "tiny", wish.seed) if wish.train else Utf8Bytes()
        retokenized = unusable_ids(engine, tokenizer, only=wish.train)
    with clock.of("credit"):
        credited = assign_store(
            engine,
            tuple(ASSIGNERS),
            everything,
            labels=CONTRIBUTION_V1,
            options=CreditOptions(retokenize=bool(retokenized)),
            tokenizer=tokenizer,
            progress=progress,
        )
    before = frozenset(wish.out.rglob("*"))
    with clock.of("export"):
        orders = [ExportOrder("tokens", wish.out), ExportOrder("spans", wish.out / "spans")]
        exported = tuple(
            export_store(engine, order, labels=CONTRIBUTION_V1, tokenizer=tokenizer)
            for order in orders
        )
    training = None
    if wish.train:
        with clock.of("train"):
            training = _train(engine, exported[0].path, wish)
    return replace(
        bare,
        reviewed=reviewed,
        settled=settled,
        credited=credited,
        exported=exported,
        tokenizer=tokenizer.name,
        retokenized=retokenized,
        training=training,
        replaced=tuple(item.path for item in exported if item.path in before),
        example=_most_disputed(engine),
    )


def _most_disputed(engine: Engine) -> str:
    """Return the id of the first rollouts' most disputed one."""
    with transaction(engine) as session:
        lines = list_rollouts(session, Selection(), limit=LOOKED_AT)

    def disputed(line: RolloutLine) -> float:
        return (line.shares or {}).get(Status.DISPUTED, 0.0)

    return max(lines, key=disputed).id


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


def _check_train() -> None:
    """Raise ``MissingExtra`` unless everything that training imports is installed."""
    try:
        for name in ("training.tiny", "training.fit"):  # these load torch, which takes seconds
            import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"--train needs the package {error.name}",
            hint="pip install '.[train]' in the project's folder",
        ) from error


def _build(engine: Engine, folder: Path, seed: int) -> Tokenizer:
    """Make the tiny model and return its tokenizer."""
    from training.tiny import build_tiny  # noqa: PLC0415 - loads torch, which takes seconds

    with transaction(engine) as session:
        pages = iter_rollouts(session, Selection())
        texts = [text for page in pages for r in page for text in (r.problem, r.completion)]
    build_tiny(texts, folder, seed=seed)
    return FastTokenizer.load(folder)


def _train(engine: Engine, rows: Path, wish: _Wish) -> DemoTraining:
    """Train on the exported rows, then load the checkpoint again and sample from it.

    The rollouts were not sampled by this model and have no behaviour log-probabilities, so the
    objective is weighted imitation of the successes.
    """
    from training.fit import RUN_FILE  # noqa: PLC0415 - loads torch, which takes seconds
    from training.run import TrainConfig, train  # noqa: PLC0415 - only with --train
    from training.tiny import sample  # noqa: PLC0415 - loads torch, which takes seconds

    out, steps, seed, progress = wish.out, wish.steps, wish.seed, wish.progress
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
