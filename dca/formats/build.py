"""From a draft to a rollout: limits, ids, marks and token arrays checked."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from dca.domain.errors import BadRecord
from dca.domain.rollout import Rollout, Tokens, content_id, group_id, rollout_id
from dca.formats.draft import Draft
from dca.formats.fields import (
    MAX_INT,
    check_text,
    json_value,
    label,
    log_probabilities,
    offsets,
    token_ids,
    truth_value,
)
from dca.formats.marks import THINK_TAGS, answer_span, think_span
from dca.formats.places import fitted

MAX_CHARS = 2_000_000
"""Default limit of a prompt's and of a completion's length, in code points."""
MISPLACED = "offsets_left_out"
"""Key in ``Rollout.meta`` of the reason why the source's offsets are not stored."""


@dataclass(slots=True)
class Builder:
    """Makes the rollouts of one source; remembers what it has seen, about 100 bytes a rollout."""

    think_tags: tuple[str, str] = THINK_TAGS
    max_chars: int = MAX_CHARS
    task: str = ""
    """Task of rollouts whose source names none."""
    model: str = ""
    """Model of rollouts whose source names none."""
    misplaced: int = 0
    """Rollouts whose offsets did not fit their text and were left out."""
    _occurrences: dict[str, int] = field(default_factory=dict[str, int])
    _named: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def build(self, draft: Draft) -> Rollout | None:
        """Return the rollout of a draft; ``None`` when this source already had the same record.

        Only records with an id of their own can be the same: two samples of one source without
        ids that read the same are two rollouts, told apart by their occurrence. Occurrences are
        counted within one source, so that a copy of it, or a file that holds some of its records
        again, gives the same rollouts, in the same import or in a later one.

        Raises:
            BadRecord: The draft is no rollout, or its id was used with other content in its
                group.
        """
        draft.task = draft.task or self.task
        draft.model = draft.model or self.model
        _check(draft, self.max_chars)
        rollout = _rollout(draft, self.think_tags)
        self.misplaced += MISPLACED in rollout.meta
        key = rollout.source_key
        if key is not None:
            return None if self._repeats(key, draft, rollout.id) else rollout
        seen = self._occurrences.get(rollout.id, 0)
        self._occurrences[rollout.id] = seen + 1
        return rollout if seen == 0 else replace(rollout, id=_id(draft, rollout.group_id, seen))

    def _repeats(self, key: str, draft: Draft, rollout: str) -> bool:
        """Tell whether this id came before with the same content; refuse other content."""
        content = f"{rollout} {draft.reward} {draft.truth}"
        digest = hashlib.blake2b(content.encode(), digest_size=16).digest()
        known = self._named.get(key)
        if known is not None and known != digest:
            raise BadRecord(f"the id {draft.source_id!r} was already used with other content")
        self._named[key] = digest
        return known is not None


def _check(draft: Draft, max_chars: int) -> None:
    if not draft.completion.strip():
        raise BadRecord("the completion is empty")
    lengths = {
        "completion": len(draft.completion),
        "prompt": sum(len(message.content) for message in draft.prompt),
    }
    for name, length in lengths.items():
        if length > max_chars:
            raise BadRecord(f"the {name} has {length} code points, the limit is {max_chars}")
    if draft.step is not None and not 0 <= draft.step <= MAX_INT:
        raise BadRecord(f"step must be in [0, {MAX_INT}], is {draft.step}")
    check_text("completion", draft.completion)
    for message in draft.prompt:
        check_text("prompt", message.role)
        check_text("prompt", message.content)
    for name in ("source_id", "group", "task", "model", "truth"):
        check_text(name, getattr(draft, name))
    check_text("rewards", draft.rewards)
    for key, value in draft.meta.items():
        check_text("a column name", key)
        check_text(key, value)


def _id(draft: Draft, group: str, occurrence: int) -> str:
    return rollout_id(
        source_id=draft.source_id,
        group=group,
        prompt=draft.prompt,
        completion=draft.completion,
        model=draft.model,
        step=draft.step,
        occurrence=occurrence,
    )


def _group(draft: Draft) -> str:
    """Return the group's id: from the source's own name for it, else from prompt and step.

    A name counts within its task and step: question 17 at step 100 and at step 200 are different
    groups. Attempts of several models stay together when the source says so.
    """
    if draft.group:
        return content_id("named group", draft.task, draft.group, draft.step)
    shared = draft.prompt if draft.group_prompt is None else draft.group_prompt
    return group_id(draft.task, shared, draft.model, draft.step)


def _rollout(draft: Draft, tags: tuple[str, str]) -> Rollout:
    group = _group(draft)
    tokens, fault = _tokens(draft)
    named = {"source_id": draft.source_id, "source_group": draft.group, MISPLACED: fault}
    return Rollout(
        id=_id(draft, group, 0),
        group_id=group,
        task=draft.task,
        prompt=draft.prompt,
        completion=draft.completion,
        reward=draft.reward,
        rewards=draft.rewards,
        truth=draft.truth,
        think=think_span(draft.completion, tags),
        answer=answer_span(draft.completion, tags),
        model=draft.model,
        step=draft.step,
        sampling=draft.sampling,
        tokens=tokens,
        meta=_meta(draft, named),
    )


def _meta(draft: Draft, named: Mapping[str, str]) -> dict[str, object]:
    """Return the source's other columns and our own; theirs of the same name are renamed."""
    meta = cast(dict[str, object], json_value(draft.meta))
    theirs = {f"source.{key}" if key in named else key: value for key, value in meta.items()}
    return {**theirs, **{key: value for key, value in named.items() if value}}


def _tokens(draft: Draft) -> tuple[Tokens | None, str]:
    """Return the tokens, and why their offsets were left out (``""`` when they were not)."""
    columns = draft.columns
    if "token_ids" not in columns:
        return None, ""
    ids = token_ids("token_ids", columns["token_ids"])
    if not ids:
        raise BadRecord("token_ids is empty")
    given = columns.get("prompt_ids")
    logprobs = columns.get("logprobs")
    places = columns.get("offsets")
    try:
        tokens = Tokens(
            ids=ids,
            exact=truth_value("ids_exact", columns.get("ids_exact", True)),
            tokenizer=label("tokenizer", columns.get("tokenizer", "")),
            prompt_ids=None if given is None else token_ids("prompt_ids", given),
            offsets=None if places is None else offsets("offsets", places),
            logprobs=None if logprobs is None else log_probabilities("logprobs", logprobs),
        )
    except ValueError as error:
        raise BadRecord(str(error)) from error
    if tokens.offsets is None:
        return tokens, ""
    found, fault = fitted(tokens.offsets, draft.completion)
    return replace(tokens, offsets=found), fault
