"""``dca train``: train a model on exported rows."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.credit import counted
from dca.cli.run import Run
from dca.config.sources import shown
from dca.pipeline.progress import Progress
from training.run import Metrics, TrainConfig, TrainReport, behaviour_mismatch
from training.run import train as train_model

MORE = "Optimizer"
CLIP = "Clipped objective"
DEVICE = "Memory and speed"


def _option(*names: str, help_: str, panel: str | None = None) -> object:
    metavar = None if "/" in names[0] else names[0].rsplit("-", 1)[-1].upper()
    return typer.Option(*names, help=help_, metavar=metavar, rich_help_panel=panel)


def train(
    context: typer.Context,
    rows: Annotated[list[Path], typer.Argument(metavar="ROWS...", help="Files of dca export")],
    *,
    model: Annotated[Path, _option("--model", help_="Folder of a causal language model")],
    output: Annotated[Path, _option("--out", help_="Folder for the trained model")],
    objective: Annotated[
        Literal["clipped", "sft"],
        typer.Option("--objective", help="Credit with clipped ratio, or weighted SFT"),
    ] = "clipped",
    epochs: Annotated[float, _option("--epochs", help_="Passes over the rows")] = 1.0,
    steps: Annotated[
        int | None, _option("--steps", help_="Optimizer steps; wins over --epochs")
    ] = None,
    batch: Annotated[int, _option("--batch", help_="Rows per forward pass")] = 8,
    accumulation: Annotated[
        int, _option("--accumulation", help_="Forward passes per optimizer step")
    ] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest complete checkpoint")
    ] = False,
    learning_rate: Annotated[
        float, _option("--learning-rate", help_="Peak of the schedule", panel=MORE)
    ] = 1e-6,
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        typer.Option("--schedule", help="After the warm-up", rich_help_panel=MORE),
    ] = "constant",
    warmup: Annotated[int, _option("--warmup", help_="Steps of warm-up", panel=MORE)] = 0,
    weight_decay: Annotated[
        float, _option("--weight-decay", help_="AdamW's decoupled decay", panel=MORE)
    ] = 0.0,
    max_grad_norm: Annotated[
        float, _option("--max-grad-norm", help_="Largest norm of a gradient", panel=MORE)
    ] = 1.0,
    eps_low: Annotated[float, _option("--eps-low", help_="Ratio bound below", panel=CLIP)] = 0.2,
    eps_high: Annotated[float, _option("--eps-high", help_="Ratio bound above", panel=CLIP)] = 0.2,
    dual_clip: Annotated[
        float | None, _option("--dual-clip", help_="Bound for negative advantages", panel=CLIP)
    ] = None,
    temperature: Annotated[
        float | None, _option("--temperature", help_="Else that of the rows", panel=CLIP)
    ] = None,
    allow_truncated_sampling: Annotated[
        bool,
        typer.Option(
            "--allow-truncated-sampling",
            help="Take rows sampled with top_p, top_k or min_p",
            rich_help_panel=CLIP,
        ),
    ] = False,
    lora_rank: Annotated[
        int | None, _option("--lora-rank", help_="Train adapters of this rank", panel=DEVICE)
    ] = None,
    max_length: Annotated[
        int | None, _option("--max-length", help_="Longest row in tokens", panel=DEVICE)
    ] = None,
    padding_free: Annotated[
        bool,
        typer.Option("--padding-free", help="Rows end to end, no padding", rich_help_panel=DEVICE),
    ] = False,
    fused_head: Annotated[
        bool,
        typer.Option(
            "--fused-head/--no-fused-head", help="No logits in memory", rich_help_panel=DEVICE
        ),
    ] = True,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            help="Less memory, more time",
            rich_help_panel=DEVICE,
        ),
    ] = True,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="Else where it exists", rich_help_panel=DEVICE),
    ] = None,
    save_every: Annotated[
        int, _option("--save-every", help_="Steps between checkpoints", panel=MORE)
    ] = 100,
    log_every: Annotated[
        int, _option("--log-every", help_="Steps between lines of metrics", panel=MORE)
    ] = 1,
) -> None:
    """Train a model on exported rows.

    Leaves a Hugging Face checkpoint and metrics.jsonl in --out. Needs the extra `train`.
    """
    run: Run = context.obj
    run.load()
    values: dict[str, Any] = {**context.params, "rows": tuple(rows), "seed": run.flags.seed}
    config = TrainConfig(**values)
    progress = run.listener
    progress.start(steps, "train")
    report = train_model(config, listener(progress))
    progress.finish()
    run.done(asdict(report), lambda console: print_report(console, report))


def listener(progress: Progress) -> Callable[[Metrics], None]:
    """Return what shows every line of metrics and counts the steps."""
    reached = 0

    def follow(metrics: Metrics) -> None:
        nonlocal reached
        step = int(metrics.get("step", reached))
        progress.advance(step - reached)
        reached = step
        progress.note(metrics_line(metrics))
        mismatch = behaviour_mismatch(metrics)
        if mismatch is not None:
            progress.note(f"warning: {mismatch}")

    return follow


def metrics_line(metrics: Metrics) -> str:
    """Return one line of metrics, four digits each."""
    return " · ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def print_report(console: Console, report: TrainReport) -> None:
    """Print what was trained on, for how long, and where the result lies."""
    prepared = report.prepared
    lines = [
        f"Trained {report.steps:,} steps on {prepared.kept:,} of {prepared.rows:,} rows, "
        f"{prepared.loss_tokens:,} tokens in the loss, {report.seconds:.1f} s",
        f"Weights {report.trained_parameters:,} of {report.parameters:,} trained",
    ]
    lines += _remarks(prepared.dropped, prepared.truncated, prepared.tokens_cut)
    if prepared.temperature_assumed:
        lines.append(f"The rows name no temperature: {prepared.temperature:g} was taken")
    if report.resumed_from is not None:
        lines.append(f"Went on from step {report.resumed_from:,}")
    lines += [f"Warning: {text}" for text in report.warnings]
    if report.final:
        lines.append(f"Last: {metrics_line(report.final)}")
    for line in [*lines, f"Wrote  {shown(report.output.resolve())}"]:
        console.print(Text(line), soft_wrap=True)


def _remarks(dropped: Mapping[str, int], truncated: int, cut: int) -> list[str]:
    left_out = [f"Left out: {counted(dropped)}"] if dropped else []
    shortened = f"Cut to --max-length: {truncated:,} rows, {cut:,} tokens lost"
    return [*left_out, *([shortened] if truncated else [])]
