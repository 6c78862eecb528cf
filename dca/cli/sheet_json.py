"""The score sheet as JSON values: everything known, nothing rounded."""

from dataclasses import asdict

from dca.domain.consensus import Consensus
from dca.domain.review import Review
from dca.domain.rollout import Rollout
from dca.pipeline.sheet import Opinion, Sheet


def sheet_fields(sheet: Sheet) -> dict[str, object]:
    """Return the fields of the document."""
    version = sheet.version
    return {
        "rollout": _rollout(sheet.rollout),
        "version": None if version is None else version.id,
        "label_set": None if version is None else version.label_set,
        "panel": None if version is None else list(version.panel),
        "consensus": None if sheet.consensus is None else _consensus(sheet),
        "opinions": [_opinion(item) for item in sheet.opinions],
    }


def _rollout(rollout: Rollout) -> dict[str, object]:
    tokens = rollout.tokens
    return {
        "id": rollout.id,
        "group_id": rollout.group_id,
        "task": rollout.task,
        "prompt": [asdict(message) for message in rollout.prompt],
        "completion": rollout.completion,
        "reward": rollout.reward,
        "rewards": dict(rollout.rewards),
        "truth": rollout.truth,
        "model": rollout.model,
        "step": rollout.step,
        "tokens": None if tokens is None else len(tokens),
        "ids_exact": None if tokens is None else tokens.exact,
        "meta": dict(rollout.meta),
    }


def _consensus(sheet: Sheet) -> dict[str, object]:
    consensus: Consensus | None = sheet.consensus
    assert consensus is not None  # noqa: S101 - the caller asked
    fields = asdict(consensus)
    for span in fields["spans"]:
        place = span["span"]
        span["text"] = sheet.rollout.completion[place["start"] : place["stop"]]
    return fields


def _opinion(opinion: Opinion) -> dict[str, object]:
    info, answer = opinion.reviewer, opinion.answer
    head = {"reviewer": info.name, "kind": info.kind, "family": info.family, "model": info.model}
    fields = asdict(answer)
    del fields["raw"], fields["key"]
    state = "review" if isinstance(answer, Review) else "abstention"
    return {**head, "answer": state, **fields}
