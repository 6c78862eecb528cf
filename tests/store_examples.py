"""Small rollouts, reviews and consensus for the tests of the store."""

from array import array

from dca.domain.consensus import (
    AgreedLink,
    AgreedSpan,
    Consensus,
    ConsensusParams,
    ConsensusVersion,
    Figure,
    PanelBlame,
    PanelSoundness,
    Status,
)
from dca.domain.review import (
    Abstention,
    AbstentionKind,
    Blame,
    Link,
    LinkKind,
    Review,
    ReviewerInfo,
    ReviewKey,
    Soundness,
    Step,
    Unplaced,
    Usage,
)
from dca.domain.rollout import Message, Rollout, Sampling, Tokens
from dca.domain.spans import Span

REVIEWER = ReviewerInfo("alpha", "rules", "rules-alpha", "1", {"protocol": "units"})
OTHER = ReviewerInfo("beta", "openai", "gpt", "gpt-x", {"temperature": 0.0})
LABELS = "contribution-v1"


def rollout(number: int, *, group: str = "g1", **changed) -> Rollout:
    """Return rollout ``number`` of a group, whose id starts with the number in five digits."""
    columns = {
        "id": f"{number:05d}{group}",
        "group_id": group,
        "task": "sums",
        "prompt": (Message("user", f"What is {number} + 1?"),),
        "completion": f"{number} + 1 = {number + 1}. The answer is {number + 1}.",
        "reward": 1.0,
        "model": "policy",
        "step": 10,
    }
    return Rollout(**{**columns, **changed})


def full_rollout() -> Rollout:
    """Return a rollout with every field filled, in several scripts."""
    text = "<think>2 + 2 = 4 😀</think>The answer is ٤."
    return Rollout(
        id="f" * 20,
        group_id="group one",
        task="sums",
        prompt=(
            Message("system", "Be brief.\nÉcris."),
            Message("user", ""),
            Message("user", "2 + 2 = ?\n"),
        ),
        completion=text,
        reward=0.5,
        rewards={"exact": 1.0, "format": 0.0},
        truth="4",
        think=Span(7, 18),
        answer=Span(len(text) - 2, len(text) - 1),
        model="policy-7b",
        step=2**40,
        sampling=Sampling(
            temperature=0.7, top_p=0.9, top_k=-1, min_p=0.0, seed=7, truncated=False
        ),
        tokens=Tokens(
            ids=array("i", [5, 0, 2**31 - 1]),
            exact=True,
            tokenizer="bytes@1",
            prompt_ids=array("i", [1, 2]),
            offsets=array("i", [0, 7, 7, 18, 18, len(text)]),
            logprobs=array("f", [-0.5, -0.25, -100.0]),
        ),
        meta={"source": {"file": "a.jsonl", "line": 3}, "tags": ["x", None, 1.5]},
    )


def key(item: Rollout, info: ReviewerInfo = REVIEWER, *, prompt: str = "p1", round_: int = 1):
    """Return the key of a reviewer's answer."""
    return ReviewKey(item.id, info.digest, prompt, LABELS, round_)


def review(item: Rollout, info: ReviewerInfo = REVIEWER, **changed) -> Review:
    """Return a review with every field filled."""
    columns = {
        "key": key(item, info),
        "steps": (
            Step(Span(0, 3), "setup", 0.25, "restates the task"),
            Step(Span(3, 9), "contributing", None, ""),
        ),
        "links": (Link(0, 1, LinkKind.USES),),
        "covered": Span(0, 12),
        "blame": Blame(None),
        "soundness": Soundness.SOUND,
        "unplaced": (Unplaced("no such words", "not found"),),
        "usage": Usage(input_tokens=100, output_tokens=20, seconds=0.5),
        "raw": '{"steps": []}',
    }
    return Review(**{**columns, **changed})


def abstention(item: Rollout, info: ReviewerInfo = REVIEWER, **changed) -> Abstention:
    """Return an abstention."""
    columns = {
        "key": key(item, info),
        "kind": AbstentionKind.UNAVAILABLE,
        "reason": "the endpoint answered 503",
        "usage": Usage(seconds=1.0),
        "raw": "busy",
    }
    return Abstention(**{**columns, **changed})


def consensus(item: Rollout) -> Consensus:
    """Return a consensus with every field filled: half agreed, half disputed."""
    half = len(item.completion) // 2
    return Consensus(
        rollout_id=item.id,
        spans=(
            AgreedSpan(
                Span(0, half),
                Status.AGREED,
                "contributing",
                0.75,
                {"contributing": 0.75, "idle": 0.25},
                {"alpha": "contributing", "beta": "idle"},
                1.0,
                0.5,
            ),
            AgreedSpan(Span(half, 2 * half), Status.DISPUTED, None, 0.5, {}, {}, 0.5, 1.0),
        ),
        links=(AgreedLink(0, 1, LinkKind.REPAIRS, 0.5, ("alpha", "beta"), "runs backwards"),),
        blame=PanelBlame(Status.AGREED, Span(0, 3), 1.0, {"alpha": Span(0, 3), "beta": None}),
        soundness=PanelSoundness(
            Status.AGREED, Soundness.UNSOUND, 0.9, {"alpha": Soundness.UNSOUND}
        ),
    )


def version(**changed) -> ConsensusVersion:
    """Return a consensus version with every field filled."""
    columns = {
        "method": "vote",
        "params": ConsensusParams(quorum=0.75),
        "label_set": LABELS,
        "panel": ("alpha", "beta"),
        "reviewers": {"alpha": REVIEWER.digest, "beta": OTHER.digest},
        "weights": {"alpha": 1.0, "beta": 0.5},
        "n_eff": 1.8,
        "rollouts": 2,
        "shares": {Status.AGREED: 0.5, Status.DISPUTED: 0.5},
        "agreement": {
            "alpha": Figure(0.5, 0.25, 0.75, 2),
            "links": Figure(None, reason="no links"),
        },
        "dca_version": "0.1.0",
    }
    return ConsensusVersion(**{**columns, **changed})
