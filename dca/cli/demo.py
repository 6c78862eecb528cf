"""``dca demo``: the whole job with no key, no network and no GPU."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.consensus import figure_text
from dca.cli.credit import counted
from dca.cli.run import PARTIAL, Run
from dca.cli.terminal import one_line
from dca.config.sources import shown
from dca.domain.consensus import Figure, Status
from dca.domain.errors import UsageError
from dca.pipeline.demo import DemoResult, DemoTraining
from dca.pipeline.demo import demo as run_demo

BANNER = "The panel is four rules that read the text, not language models."
NOT_HERE = {
    "store": "it makes a store of its own in the folder of --out; `dca import FILE --store URL`, "
    "then `dca review`, `consensus`, `credit` and `export` work on yours",
    "config": "it reads no configuration; `dca import FILE`, then `dca review`, `consensus`, "
    "`credit` and `export` do",
}
"""Global flags that would have no effect to what does what they ask for."""
SAMPLE = 160
"""Characters of a sample that are shown."""


def demo(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Your rollouts; else bundled ones")
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything it makes")
    ] = Path("dca-demo"),
    train: Annotated[
        bool, typer.Option("--train", help="Then train a tiny model on the exported rows")
    ] = False,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", help="Optimizer steps of --train", min=1)
    ] = 40,
) -> None:
    """The whole job on bundled rollouts or your own: no key, no network.

    Import, review by the offline panel, consensus, credit and export, for real. The panel is four
    rules that read the text, not language models. Each input has its own store in the folder of
    --out, named after it and its content; exports and model are replaced by the next demo. So
    --store is not for the demo, nor is --config: it reads no configuration.
    """
    run: Run = context.obj
    for flag, instead in NOT_HERE.items():
        if flag in run.given:
            raise UsageError(f"the demo does not take --{flag}", hint=instead)
    run.note(BANNER)
    result = run_demo(
        file, out, train=train, steps=steps, seed=run.flags.seed, progress=run.listener
    )
    code = PARTIAL if result.imported.rejected else 0
    run.done(asdict(result), lambda console: print_result(console, result), exit_code=code)


def print_result(console: Console, result: DemoResult) -> None:
    """Print what each stage did, where it lies, and what to do next."""
    for head, text in [*stages(result), *files(result)]:
        console.print(Text(f"{head:11}{text}"), soft_wrap=True)
    if result.training is not None:
        print_training(console, result.training)
    if result.reviewed is None:
        console.print(Text("Nothing could be imported, so nothing else was done."))
        return
    console.print()
    console.print(Text(BANNER))
    console.print()
    store = shown(result.store.resolve())
    console.print(Text(f"Next  dca ls --store {store}"), soft_wrap=True)
    console.print(
        Text(f"      dca show {result.example} --store {store} --contested"), soft_wrap=True
    )
    console.print(Text("      dca init --panel openai-compatible"), soft_wrap=True)


def stages(result: DemoResult) -> Iterator[tuple[str, str]]:
    """Yield what each stage did."""
    imported, seconds = result.imported, result.seconds
    counts = (
        f"{imported.new:,} new, {imported.unchanged:,} unchanged, {imported.rejected:,} rejected"
    )
    yield "Imported", f"{counts} rollouts  {seconds['import']:.1f} s"
    if imported.rejects_path is not None:
        yield "Rejected", f"see {shown(imported.rejects_path.resolve())}"
    if result.reviewed is None or result.settled is None or result.credited is None:
        return
    done = sum(row.reviews + row.cached for row in result.reviewed.reviewers)
    names = ", ".join(row.name for row in result.reviewed.reviewers)
    yield "Reviewed", f"{done:,} reviews by {names}  {seconds['review']:.1f} s"
    version = result.settled.version
    shares = " · ".join(f"{status} {version.shares.get(status, 0.0):.0%}" for status in Status)
    yield "Consensus", f"{shares} of the text  {seconds['consensus']:.1f} s"
    alpha = version.agreement.get("alpha", Figure(None, reason="not measured"))
    yield "Agreement", f"alpha {figure_text(alpha)}"
    if result.retokenized:
        yield (
            "Tokens",
            f"{result.retokenized:,} rollouts bring token ids that the demo has no tokenizer for: "
            f"all texts were tokenized again ({result.tokenizer}), ids_exact = false",
        )
    for method in result.credited.methods:
        text = method.missing or f"{method.rollouts:,} rollouts, {method.tokens:,} tokens"
        events = f"  {counted(method.events)}" if method.events else ""
        yield "Credit", f"{method.method}: {text}{events}"


def files(result: DemoResult) -> Iterator[tuple[str, str]]:
    """Yield the files that were written."""
    for item in result.exported:
        again = "  (replaced an earlier demo's)" if item.path in result.replaced else ""
        yield "Wrote", f"{shown(item.path.resolve())}  {item.rows:,} rows{again}"


def print_training(console: Console, training: DemoTraining) -> None:
    """Print what the tiny model learnt and what it writes."""
    report = training.report
    lines = [
        f"Trained    {report.parameters:,} weights, {report.steps:,} steps: loss "
        f"{training.first_loss:.3f} -> {training.last_loss:.3f}  {report.seconds:.1f} s",
        f"Wrote      {shown(report.output.resolve())}  (loaded again and sampled from)",
    ]
    for sample in training.samples:
        lines.append(f"  {one_line(sample.problem)[:SAMPLE]}")
        lines.append(f"    -> {one_line(sample.text)[:SAMPLE]}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)
