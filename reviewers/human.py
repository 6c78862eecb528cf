"""A person as a reviewer: never asked by the engine, but handed sheets to fill in.

A sheet is one JSON object a line, one for each rollout, with an empty ``review`` at its end::

    {"rollout_id": "0f...", "problem": "...", "outcome": "failed", "labels": {"idle": "..."},
     "units": {"1": "Let x be 3.", "2": "Then 2x is 7."},
     "review": {"steps": [], "links": [], "covered_first": null, "covered_last": null,
       "blame": null}}

The person writes the reply of the ``units`` protocol into ``review``::

    {"steps": [{"first": 2, "last": 2, "label": "harmful", "reason": "2x is 6"}],
     "links": [], "covered_first": 1, "covered_last": 2, "blame": 1}

``first`` and ``last`` are units, both inclusive. Steps count from 1 in their order, for links and
``blame``; blame 0 says that no step is to blame. Unmarked units from ``covered_first`` to
``covered_last`` were looked at and found idle; elsewhere unmarked is no vote. What is null is not
stated. Unlike a model's reply, a sheet with any wrong item is refused as a whole, with the reason,
so that the person can mend it.
"""

from collections.abc import Mapping
from typing import cast

from dca.domain.errors import ReplyInvalid, ReviewerUnavailable
from dca.domain.labels import CONTRIBUTION_V1, LabelSet
from dca.domain.review import Review, ReviewerInfo
from dca.domain.rollout import SUCCESS_AT, Rollout
from reviewers.parse import Parsed, read_review
from reviewers.protocol import review_key
from reviewers.question import Asking, show_prompt
from reviewers.schema import Outcome

STEP_KEYS = frozenset(("n", "first", "last", "label", "reason", "confidence"))
LINK_KEYS = frozenset(("from", "to", "kind"))


class Human:
    """One person; the reviews come by sheets."""

    def __init__(
        self,
        name: str,
        *,
        family: str = "",
        labels: LabelSet = CONTRIBUTION_V1,
        blind: bool = False,
        success_at: float = SUCCESS_AT,
    ) -> None:
        """Describe the reviewer.

        Args:
            name: Name in the configuration, unique in a panel.
            family: The person; by default the name.
            labels: The labels of the sheets.
            blind: True: sheets tell neither the outcome nor the reference answer.
            success_at: Smallest reward that is told as a right answer.
        """
        self._asking = Asking(blind=blind, success_at=success_at, labels=labels)
        settings = self._asking.settings
        self._info = ReviewerInfo(name, "human", family or name, "person", settings)

    @property
    def info(self) -> ReviewerInfo:
        """Who this is."""
        return self._info

    @property
    def prompt_digest(self) -> str:
        """``sheet``: there are no words but those of the sheet."""
        return "sheet"

    @property
    def labels(self) -> LabelSet:
        """The labels of the sheets."""
        return self._asking.labels

    async def review(self, rollout: Rollout) -> Review:
        """Refuse: a person cannot be asked.

        Raises:
            ReviewerUnavailable: Always.
        """
        raise ReviewerUnavailable(
            f"{self._info.name} is a person: rollout {rollout.id} waits for a sheet",
            hint=f"dca panel sheet {self._info.name} --out FILE writes what is to be filled in.",
        )

    def sheet(self, rollout: Rollout) -> dict[str, object]:
        """Return the sheet of one rollout, JSON values only."""
        outcome = self._asking.outcome(rollout)
        told: dict[str, object] = {"rollout_id": rollout.id, "task": rollout.task}
        told["problem"] = show_prompt(rollout.prompt)
        if not self._asking.blind:
            told["outcome"] = outcome.value
            if rollout.truth:
                told["reference"] = rollout.truth
        told["labels"] = {label.key: label.description for label in self.labels}
        told["units"] = self._units(rollout)
        return {**told, "review": _empty(outcome)}

    def read(self, rollout: Rollout, line: Mapping[str, object], raw: str) -> Review | None:
        """Return what a filled-in sheet says; ``None`` when nothing is filled in.

        Args:
            rollout: That the sheet names.
            line: The sheet.
            raw: The sheet as it came.

        Raises:
            ReplyInvalid: Something in it is wrong; every fault is named.
        """
        said = line.get("review")
        if not isinstance(said, dict):
            raise ReplyInvalid("the sheet has no review")
        review = cast("dict[str, object]", said)
        outcome = self._asking.outcome(rollout)
        if not any(review.values()):
            return None
        if line.get("units") != self._units(rollout):
            raise ReplyInvalid("units are not those of this rollout: write the sheet anew")
        _check_keys(review, outcome)
        form = self._asking.form(outcome)
        units = self._asking.units(rollout.completion)
        parsed = read_review(review, rollout.completion, form, units)
        if parsed.unplaced:
            faults = (f"{item.quote}: {item.reason}" for item in parsed.unplaced)
            raise ReplyInvalid("; ".join(faults))
        return self._review(rollout, parsed, raw)

    def _units(self, rollout: Rollout) -> dict[str, str]:
        """Return the units of a rollout by their numbers."""
        text = rollout.completion
        spans = self._asking.units(text)
        return {str(number): span.text(text) for number, span in enumerate(spans, 1)}

    def _review(self, rollout: Rollout, parsed: Parsed, raw: str) -> Review:
        return Review(
            review_key(self, rollout),
            parsed.steps,
            parsed.links,
            parsed.covered,
            parsed.blame,
            parsed.soundness,
            raw=raw,
        )


def _empty(outcome: Outcome) -> dict[str, object]:
    """Return a review in which nothing is said."""
    verdicts = {"blame": outcome.asks_blame, "soundness": outcome.asks_soundness}
    return {
        "steps": [],
        "links": [],
        "covered_first": None,
        "covered_last": None,
        **{key: None for key, asked in verdicts.items() if asked},
    }


def _check_keys(review: Mapping[str, object], outcome: Outcome) -> None:
    """Refuse what is misspelt, and half of a range, which a model may leave out."""
    unknown = [*(review.keys() - _empty(outcome).keys())]
    for items, keys in (("steps", STEP_KEYS), ("links", LINK_KEYS)):
        listed = review.get(items)
        if isinstance(listed, list):
            entries = (item for item in cast("list[object]", listed) if isinstance(item, dict))
            unknown += [
                key
                for item in entries
                for key in cast("dict[str, object]", item)
                if key not in keys
            ]
    if unknown:
        raise ReplyInvalid(f"unknown: {', '.join(sorted(dict.fromkeys(unknown)))}")
    ends = review.get("covered_first"), review.get("covered_last")
    if (ends[0] is None) is not (ends[1] is None):
        raise ReplyInvalid("covered_first and covered_last go together")
