"""``dca panel test``: one reviewer on one rollout, with everything that was said."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dca.cli.amounts import latency, money
from dca.cli.run import PARTIAL, Run
from dca.cli.sheet_rows import label_letter
from dca.cli.stores import opened
from dca.cli.terminal import one_line, visible
from dca.domain.labels import LabelSet
from dca.domain.review import Abstention, Answer, Review, Usage
from dca.domain.rollout import Rollout
from dca.pipeline.panels import build_reviewer
from dca.pipeline.trial import Exchanged, Sizes, Trial, first_question, try_reviewer
from reviewers.exchange import Question
from reviewers.protocol import Reviewer
from store.engine import transaction
from store.rollouts import find_rollout

Lines = Iterator[tuple[str, str]]
"""Style and text of each line."""


def trial(
    context: typer.Context,
    reviewer: Annotated[str, typer.Argument(metavar="REVIEWER", help="Name in dca.toml")],
    *,
    rollout: Annotated[
        str, typer.Option("--id", metavar="ID", help="The rollout's id or its beginning")
    ],
    dry: Annotated[
        bool, typer.Option("--dry", help="Only the prompt and its size; nothing is sent")
    ] = False,
) -> None:
    """Try one reviewer on one rollout; nothing is stored.

    Shows the prompt, the raw reply, the steps with their text, what could not be placed and why,
    tokens and cost. Exit code 3 when the reviewer abstains.
    """
    run: Run = context.obj
    loaded = run.load()
    asked = build_reviewer(loaded.config, reviewer)
    with opened(loaded) as engine, transaction(engine) as session:
        found = find_rollout(session, rollout)
    tried = first_question(asked, found) if dry else try_reviewer(asked, found)
    run.done(
        trial_fields(asked, found, tried),
        lambda console: print_trial(console, asked, found, tried),
        exit_code=PARTIAL if isinstance(tried.answer, Abstention) else 0,
    )


def trial_fields(reviewer: Reviewer, rollout: Rollout, trial: Trial) -> dict[str, object]:
    """Return a trial for a JSON document."""
    answer = trial.answer
    return {
        "reviewer": reviewer.info.name,
        "kind": reviewer.info.kind,
        "model": reviewer.info.model,
        "rollout": rollout.id,
        "exchanges": [_exchange_fields(item) for item in trial.exchanges],
        "answer": None if answer is None else _answer_fields(answer, rollout),
        "requests": trial.requests,
        "dollars": trial.dollars,
    }


def _exchange_fields(item: Exchanged) -> dict[str, object]:
    reply = item.reply
    return {
        "system": item.question.system,
        "turns": [asdict(turn) for turn in item.question.turns],
        "sizes": asdict(item.sizes),
        "reply": None if reply is None else asdict(reply),
        "fault": item.fault,
    }


def _answer_fields(answer: Answer, rollout: Rollout) -> dict[str, object]:
    if isinstance(answer, Abstention):
        return {
            "abstained": answer.kind.value,
            "reason": answer.reason,
            "usage": asdict(answer.usage),
            "raw": answer.raw,
        }
    text = rollout.completion
    return {
        "steps": [{**asdict(step), "text": step.span.text(text)} for step in answer.steps],
        "links": [asdict(link) for link in answer.links],
        "covered": None if answer.covered is None else asdict(answer.covered),
        "blame": None if answer.blame is None else asdict(answer.blame),
        "soundness": answer.soundness,
        "unplaced": [asdict(part) for part in answer.unplaced],
        "usage": asdict(answer.usage),
        "raw": answer.raw,
    }


def print_trial(console: Console, reviewer: Reviewer, rollout: Rollout, trial: Trial) -> None:
    """Print a trial for people."""
    for style, line in _lines(reviewer, rollout, trial):
        console.print(Text(line, style=style), soft_wrap=True)


def _lines(reviewer: Reviewer, rollout: Rollout, trial: Trial) -> Lines:
    info = reviewer.info
    yield "", one_line(f"{info.name} ({info.kind}, {info.model}) on rollout {rollout.id}")
    if not trial.exchanges and trial.answer is None:
        yield "", "No prompt: it is no language model."
    before: Question | None = None
    for number, item in enumerate(trial.exchanges, 1):
        of = f" {number} of {len(trial.exchanges)}" if len(trial.exchanges) > 1 else ""
        yield from _exchange_lines(item, before, of)
        before = item.question
    if trial.answer is None:
        return
    if not trial.exchanges and trial.answer.raw:
        yield from _block("Recorded", trial.answer.raw)
    if isinstance(trial.answer, Review):
        yield from _review_lines(trial.answer, rollout, reviewer.labels)
    else:
        yield from _block("Abstained", f"{trial.answer.kind.value}: {trial.answer.reason}")
    if trial.exchanges:
        yield from _block("Usage", f"{_usage(trial.answer.usage)}\n{_cost(trial)}")


def _exchange_lines(item: Exchanged, before: Question | None, of: str) -> Lines:
    """Yield a question and its reply; what the question before said already is left out."""
    question = item.question
    said = () if before is None else before.turns
    if before is None or before.system != question.system:
        yield from _block(f"Prompt{of}: system", question.system)
    for number, turn in enumerate(question.turns):
        if question.turns[: number + 1] != said[: number + 1]:
            yield from _block(f"Prompt{of}: {turn.role}", turn.text)
    yield from _block(f"Size{of}", _size(item.sizes))
    if item.reply is not None:
        how = f"{item.reply.ended.value}, {item.reply.detail}"
        yield from _block(f"Reply{of} ({how})", item.reply.text)
    elif item.fault:
        yield from _block(f"No reply{of}", item.fault)


def _review_lines(review: Review, rollout: Rollout, labels: LabelSet) -> Lines:
    yield from _block("Steps", "")
    for number, step in enumerate(review.steps, 1):
        sure = "" if step.confidence is None else f", {step.confidence:g} sure"
        letter, span = label_letter(step.label, labels), step.span
        text = one_line(span.text(rollout.completion))
        yield "", f"{number:3} {letter} [{span.start}, {span.stop}) {text}"
        yield "dim", f"      {one_line(f'{step.label}{sure}. {step.reason}')}"
    for link in review.links:
        yield "", f"    step {link.target + 1} {link.kind.value} step {link.source + 1}"
    yield from _block("Verdicts", ", ".join(_verdicts(review)) or "none")
    yield from _block("Not placed", "" if review.unplaced else "nothing")
    for part in review.unplaced:
        yield "yellow", f"    {one_line(part.quote)}: {one_line(part.reason)}"


def _verdicts(review: Review) -> Iterator[str]:
    if review.blame is not None:
        step = review.blame.step
        yield "no step is to blame" if step is None else f"blames step {step + 1}"
    if review.soundness is not None:
        yield review.soundness.value
    if review.covered is not None:
        yield f"looked at [{review.covered.start}, {review.covered.stop})"


def _block(head: str, text: str) -> Lines:
    yield "", ""
    yield "bold", one_line(head)
    yield from (("", line) for line in visible(text).split("\n") if text)


def _size(sizes: Sizes) -> str:
    cost = "price not known" if sizes.most_dollars is None else f"{money(sizes.most_dollars)}"
    return (
        f"{sizes.characters:,} characters, request of {sizes.body_bytes:,} bytes; with the longest"
        f" reply at most {sizes.most_tokens:,} tokens, {cost}"
    )


def _usage(usage: Usage) -> str:
    shown: Mapping[str, int | None] = {
        "tokens in": usage.input_tokens,
        "from the cache": usage.cached_tokens,
        "into the cache": usage.cache_write_tokens,
        "tokens out": usage.output_tokens,
        "of them reasoning": usage.reasoning_tokens,
    }
    known = (f"{count:,} {name}" for name, count in shown.items() if count is not None)
    return ", ".join((*known, latency(usage.seconds)))


def _cost(trial: Trial) -> str:
    cost = "price not known" if trial.dollars is None else money(trial.dollars)
    return f"{trial.requests:,} request{'s' if trial.requests != 1 else ''}, {cost}"
