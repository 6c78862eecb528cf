"""``tokens.parquet.card.md``: what an export holds, where it came from and what to beware of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from dca.domain.consensus import ConsensusVersion, Figure, Status
from dca.domain.labels import LabelSet


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card says."""

    title: str
    files: Mapping[str, int]
    """File name to number of rows."""
    rollouts: int
    groups: int
    successes: int
    """Rollouts that count as successes."""
    labels: LabelSet
    version: ConsensusVersion | None = None
    """``None`` when no consensus is behind the export."""
    method: str = ""
    """Credit assigner, ``""`` for an export without credit."""
    tokens: int = 0
    """Exported completion tokens."""
    credited: int = 0
    """Those of them that carry credit."""
    exact_ids: int = 0
    """Rollouts whose token ids are the sampled ones."""
    tokenizer: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Further named counts, such as rollouts left out and why."""
    warnings: tuple[str, ...] = ()
    dca_version: str = ""


def dataset_card(facts: CardFacts) -> str:
    """Return the card as Markdown, with the front matter that dataset hubs read."""
    title = json.dumps(facts.title)
    parts = [
        f"---\npretty_name: {title}\ntags:\n- deliberative-credit-assignment\n---",
        f"# {facts.title}",
        _table(("file", "rows"), [(name, f"{rows:,}") for name, rows in facts.files.items()]),
        "## Counts\n\n" + _table(("what", "number"), _counts(facts)),
        "## Consensus\n\n" + _consensus(facts.version),
        "## Labels\n\n" + _labels(facts.labels),
        "## Warnings\n\n" + _warnings(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(item) for item in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _counts(facts: CardFacts) -> list[tuple[str, ...]]:
    rows = [
        ("rollouts", f"{facts.rollouts:,}"),
        ("groups", f"{facts.groups:,}"),
        ("successes", f"{facts.successes:,}"),
    ]
    if facts.method:
        rows += [
            ("credit", facts.method),
            ("completion tokens", f"{facts.tokens:,}"),
            ("tokens with credit", _part(facts.credited, facts.tokens)),
            ("rollouts with sampled token ids", _part(facts.exact_ids, facts.rollouts)),
            ("tokenizer", facts.tokenizer or "not known"),
        ]
    rows += [(name, f"{count:,}") for name, count in facts.counts.items()]
    rows.append(("made by", f"deliberative-credit-assignment {facts.dca_version}".strip()))
    return rows


def _part(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.1%})" if whole else f"{part:,}"


def _consensus(version: ConsensusVersion | None) -> str:
    if version is None:
        return "No consensus is behind this export."
    params = version.params
    rows = [
        ("version", f"{version.id} ({version.method}, {version.created or 'not stored'})"),
        ("label set", version.label_set),
        ("panel", ", ".join(version.panel)),
        ("effective reviewers", f"{version.n_eff:.2f} of {len(version.panel)}"),
        ("quorum", f"{params.quorum:.3g}"),
        ("reviewers, families at least", f"{params.min_reviewers}, {params.min_families}"),
        ("rollouts settled", f"{version.rollouts:,}"),
    ]
    rows += [(f"text {status}", f"{version.shares.get(status, 0.0):.1%}") for status in Status]
    rows += [(f"agreement: {name}", _figure(item)) for name, item in version.agreement.items()]
    return _table(("what", "value"), rows)


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return f"n/a: {figure.reason}"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f} (n = {figure.n})"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] (n = {figure.n})"


def _labels(labels: LabelSet) -> str:
    rows = [
        (str(code), label.letter, label.key, f"{label.value:+g}", label.description)
        for code, label in enumerate(labels)
    ]
    return f"`{labels.name}`\n\n" + _table(("code", "letter", "label", "value", "meaning"), rows)


def _warnings(facts: CardFacts) -> str:
    warnings = list(facts.warnings)
    if facts.method and facts.exact_ids < facts.rollouts:
        count = facts.rollouts - facts.exact_ids
        warnings.append(
            f"{count:,} rollouts carry token ids made from the text, not the sampled ones."
        )
    return "\n".join(f"- {_cell(item)}" for item in warnings) if warnings else "None."
