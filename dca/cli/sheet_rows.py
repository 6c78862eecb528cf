"""A score sheet in words and letters, the same for terminals and Markdown. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dca.cli.terminal import one_line
from dca.domain.consensus import AgreedSpan, Consensus, Status
from dca.domain.labels import LabelSet
from dca.domain.spans import Span
from dca.pipeline.sheet import Sheet

NO_VOTE = "-"
DISPUTED, UNCOVERED = "?", "."
BAR = 8
"""Cells of a share's bar."""


@dataclass(frozen=True, slots=True)
class Row:
    """One consensus span."""

    number: int
    """From 1, in text order."""
    letter: str
    """The label's; in brackets when thin; ``?`` when disputed, ``.`` when uncovered."""
    value: float
    """Of the label, 0 without one."""
    status: Status
    share: float
    """Of the leading label, in [0, 1]."""
    votes: str
    """One letter per reviewer, ``-`` for no vote."""
    text: str
    """One line, safe to show."""
    notes: tuple[str, ...]
    """Blame, links and reasons, safe to show."""


def sheet_rows(sheet: Sheet, labels: LabelSet | None, *, every_reason: bool) -> list[Row]:
    """Return the consensus spans in text order.

    Args:
        sheet: What is known.
        labels: For letters; ``None`` when the set is no longer configured.
        every_reason: Whether to give every reviewer's reason, not one for each label.
    """
    if sheet.consensus is None:
        return []
    names = reviewer_names(sheet)
    return [
        Row(
            number,
            span_letter(span, labels),
            label_value(span.label, labels),
            span.status,
            span.share,
            "".join(label_letter(span.votes.get(name), labels) for name in names),
            one_line(span.span.text(sheet.rollout.completion)) or "(white space)",
            (
                *_blamed(sheet.consensus, span),
                *_links(sheet.consensus, number - 1),
                *_reasons(sheet, span, labels, every_reason=every_reason),
            ),
        )
        for number, span in enumerate(sheet.consensus.spans, 1)
    ]


def reviewer_names(sheet: Sheet) -> tuple[str, ...]:
    """Return the reviewers in the order of the letters of ``Row.votes``."""
    return sheet.version.panel if sheet.version else ()


def label_letter(key: str | None, labels: LabelSet | None) -> str:
    """Return a label's letter, ``-`` for none; of an unknown set, its first character."""
    if key is None:
        return NO_VOTE
    return labels[key].letter if labels and key in labels else key[:1].upper()


def label_value(key: str | None, labels: LabelSet | None) -> float:
    """Return a label's value, 0 for none or for one of an unknown set."""
    return labels[key].value if key and labels and key in labels else 0.0


def span_letter(span: AgreedSpan, labels: LabelSet | None) -> str:
    """Return what stands for a span: its letter, in brackets when thin, or a sign."""
    if span.label is None:
        return DISPUTED if span.status is Status.DISPUTED else UNCOVERED
    letter = label_letter(span.label, labels)
    return f"({letter})" if span.status is Status.THIN else letter


def share_bar(share: float, *, unicode: bool) -> str:
    """Return a share in [0, 1] as a bar of ``BAR`` cells."""
    filled = round(share * BAR)
    return ("█" if unicode else "#") * filled + ("░" if unicode else ".") * (BAR - filled)


def verdicts(sheet: Sheet) -> list[str]:
    """Return the panel's blame and soundness in words, with who said what."""
    found: list[str] = []
    consensus = sheet.consensus
    if consensus and consensus.blame:
        blame = consensus.blame
        said = {name: _step(consensus, span) for name, span in sorted(blame.votes.items())}
        verdict = _step(consensus, blame.span)
        found.append(f"Blame {_verdict(blame.status, verdict, blame.share)} ({_voices(said)})")
    if consensus and consensus.soundness:
        sound = consensus.soundness
        said = {name: vote.value for name, vote in sorted(sound.votes.items())}
        verdict = sound.verdict.value if sound.verdict else ""
        found.append(f"Soundness {_verdict(sound.status, verdict, sound.share)} ({_voices(said)})")
    return found


def _verdict(status: Status, verdict: str, share: float) -> str:
    """Return what was settled, or why nothing was."""
    if status is Status.AGREED:
        return f"{verdict} with {share:.2f} of the votes"
    return {Status.DISPUTED: "disputed", Status.THIN: "too few votes"}.get(status, "no vote")


def _voices(said: Mapping[str, str]) -> str:
    """Return who said what."""
    return ", ".join(f"{one_line(name)}: {word}" for name, word in said.items())


def legend(rows: Sequence[Row], labels: LabelSet | None) -> str:
    """Return what the letters on the sheet mean."""
    letters = "".join(row.letter + row.votes for row in rows)
    words = [f"{item.letter} {item.key}" for item in labels or () if item.letter in letters]
    signs = {Status.THIN: "( ) too few votes", Status.DISPUTED: "? disputed"}
    signs[Status.UNCOVERED] = ". no vote"
    statuses = {row.status for row in rows}
    return " · ".join([*words, *(text for status, text in signs.items() if status in statuses)])


def _step(consensus: Consensus, span: Span | None) -> str:
    """Return the number of the step where a stretch begins."""
    if span is None:
        return "no step"
    numbers = [n for n, item in enumerate(consensus.spans, 1) if span.start < item.span.stop]
    return f"step {numbers[0]}"


def _blamed(consensus: Consensus, span: AgreedSpan) -> list[str]:
    blame = consensus.blame
    if blame is None or blame.span is None or blame.status is not Status.AGREED:
        return []
    return ["blamed: the wrong answer rests on this"] if blame.span.overlap(span.span) else []


def _links(consensus: Consensus, position: int) -> list[str]:
    return [
        f"{link.kind.value} {link.source + 1} ({link.support:.2f})"
        for link in consensus.links
        if link.target == position and not link.dropped
    ]


def _reasons(
    sheet: Sheet, span: AgreedSpan, labels: LabelSet | None, *, every_reason: bool
) -> list[str]:
    chosen: list[str] = []
    seen: set[str] = set()
    for name, step in sheet.reasons(span):
        if every_reason or step.label not in seen:
            seen.add(step.label)
            letter = label_letter(step.label, labels)
            chosen.append(f"{one_line(name)} {letter}: {one_line(step.reason)}")
    return chosen
