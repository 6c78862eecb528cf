"""One training run: what is asked for, what came of it, and the door to it.

Importing this module loads neither torch nor TRL; calling ``train`` does.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from dca.domain.errors import MissingExtra, TrainingError

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Every setting of a run. Batch sizes are per device."""

    rows: tuple[Path, ...]
    """Files of neutral rows, of one tokenizer."""
    model: Path
    """Folder of a Hugging Face causal language model with its tokenizer."""
    output: Path
    """Folder for the trained model, its checkpoints and ``metrics.jsonl``."""
    objective: Literal["clipped", "sft"] = "clipped"
    """``clipped`` importance ratio on the credit; ``sft`` weighted imitation where the
    advantage is positive."""
    epochs: float = 1.0
    """Passes over the rows, > 0; ``steps`` wins."""
    steps: int | None = None
    """Optimizer steps, >= 1."""
    batch: int = 8
    """Rows per forward pass, >= 1."""
    accumulation: int = 1
    """Forward passes per optimizer step, >= 1."""
    learning_rate: float = 1e-6
    """Peak of the schedule, > 0."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up."""
    warmup: int = 0
    """Optimizer steps of linear warm-up."""
    weight_decay: float = 0.0
    """AdamW's decoupled decay, >= 0."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm, > 0."""
    eps_low: float = 0.2
    """``clipped``: ratio bound below, in (0, 1)."""
    eps_high: float = 0.2
    """``clipped``: ratio bound above, > 0."""
    dual_clip: float | None = None
    """``clipped``: bound for negative advantages, > 1; ``None`` for none."""
    temperature: float | None = None
    """``clipped``: temperature of the stored log-probabilities; ``None`` takes the rows'."""
    allow_truncated_sampling: bool = False
    """``clipped``: take rows sampled with top_p, top_k or min_p, whose ratios are biased."""
    lora_rank: int | None = None
    """Train adapters of this rank on all linear layers; ``None`` trains every weight."""
    max_length: int | None = None
    """Longest prompt and completion together, in tokens; longer completions lose their end."""
    padding_free: bool = False
    """Lay the rows of a batch end to end instead of padding them."""
    fused_head: bool = True
    """Compute log-probabilities without the logits; ``False`` for models that do not allow it."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, more time."""
    bf16: bool | None = None
    """Mixed precision; ``None`` where the device has it."""
    seed: int = 0
    """Seed of the order of rows, of adapters and of dropout."""
    save_every: int = 100
    """Optimizer steps between checkpoints, >= 1; the two newest are kept."""
    log_every: int = 1
    """Optimizer steps between lines of metrics, >= 1."""
    resume: bool = False
    """Go on from the newest complete checkpoint in ``output``, if there is one."""

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        if not self.rows:
            raise TrainingError("no rows to train on", hint="give files of dca export")
        for name in ("epochs", "learning_rate", "max_grad_norm", "eps_low", "eps_high"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} is {getattr(self, name)}, it must be positive")
        for name in ("steps", "lora_rank", "max_length", *_COUNTS):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"{name} is {value}, it must be at least 1")
        self._check_bounds()

    def _check_bounds(self) -> None:
        if self.eps_low >= 1:
            raise TrainingError(f"eps_low is {self.eps_low}, it must be below 1")
        if self.dual_clip is not None and self.dual_clip <= 1:
            raise TrainingError(f"dual_clip is {self.dual_clip}, it must be above 1")
        if self.temperature is not None and self.temperature <= 0:
            raise TrainingError(f"temperature is {self.temperature}, it must be positive")
        if self.warmup < 0 or self.weight_decay < 0:
            raise TrainingError("warmup and weight_decay must not be negative")

    def settings(self) -> dict[str, object]:
        """Return what makes two runs the same run, as JSON values.

        How long it trains is not part of that: a run can be resumed for more steps, whose learning
        rate is then that of a schedule of the new length.
        """
        skipped = {"rows", "output", "resume", "steps", "epochs"}
        values = asdict(self)
        names = [field.name for field in fields(self) if field.name not in skipped]
        return {n: str(values[n]) if isinstance(values[n], Path) else values[n] for n in names}


_COUNTS = ("batch", "accumulation", "save_every", "log_every")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of the rows before training."""

    rows: int
    """Rows read."""
    kept: int
    """Rows trained on."""
    dropped: Mapping[str, int]
    """Rows left out, by reason."""
    truncated: int
    """Rows whose completion lost its end."""
    tokens_cut: int
    """Tokens that they lost."""
    loss_tokens: int
    """Tokens in the loss, in one pass over the rows."""
    temperature: float
    """Temperature at which log-probabilities are taken."""
    temperature_assumed: bool
    """True when the rows did not say, and 1 was taken."""


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run did."""

    output: Path
    prepared: Prepared
    steps: int
    """Optimizer steps done in all."""
    resumed_from: int | None
    """Step of the checkpoint that the run went on from."""
    parameters: int
    trained_parameters: int
    seconds: float
    """Wall time of the training loop."""
    final: Metrics
    """The last line of metrics."""
    warnings: tuple[str, ...] = ()
    """What speaks against the result, one sentence each."""


MISMATCH = 0.5
"""How far the mean ratio may be from 1, and the KL divergence from 0, before any training."""


def behaviour_mismatch(metrics: Metrics) -> str | None:
    """Say that the rows are of another model when the metrics of step 1 show it.

    At step 1 the model is still the given one, so under the policy that sampled the rows the mean
    ratio is 1 and the divergence 0. Later lines, and objectives without a ratio, say nothing.
    """
    if metrics.get("step") != 1 or "ratio_mean" not in metrics:
        return None
    ratio, kl = metrics["ratio_mean"], metrics["kl_behaviour"]
    if abs(ratio - 1) <= MISMATCH and kl <= MISMATCH:
        return None
    return (
        f"the rows were not sampled by this model: at step 1 the mean ratio is {ratio:.3g} "
        f"(not 1) and the KL divergence from the behaviour policy {kl:.3g} (not 0); "
        "train the model that sampled them, or use --objective sft"
    )


def train(config: TrainConfig, on_metrics: Callable[[Metrics], None] | None = None) -> TrainReport:
    """Train a model on neutral rows and leave a Hugging Face checkpoint in ``config.output``.

    Nothing is downloaded and nothing is reported anywhere: the Hub's offline switches are set
    unless the environment already says otherwise. ``on_metrics`` gets every line that goes to
    ``metrics.jsonl``. Rows, model and output folder are looked at before torch is loaded, and a
    run that fails before it has anything to go on from leaves the folder free for the next.

    Raises:
        FormatError: a file of rows is missing or is not one.
        UsageError: the model has no ``tokenizer.json``.
        MissingExtra: torch or TRL is not installed.
        TrainingError: rows, model and settings do not fit together, or the loss is not finite.
    """
    from training.preflight import preflight  # noqa: PLC0415 - it imports this module

    preflight(config)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from training.fit import fit  # noqa: PLC0415 - loads torch, which takes seconds
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"training needs the package {error.name}",
            hint="pip install '.[train]' in the project's folder",
        ) from error
    return fit(config, on_metrics or _ignore)


def _ignore(metrics: Metrics) -> None:
    """Take a line of metrics and do nothing."""
