"""Spans, imitation rows and the dataset card."""

import json
from array import array
from dataclasses import replace

import msgspec
import pyarrow.parquet as pq
import pytest

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
from dca.domain.errors import FormatError
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Link, LinkKind, Review, ReviewKey, Soundness, Step
from dca.domain.rollout import Message, Rollout, Tokens
from dca.domain.spans import Span
from dca.formats.card import CardFacts, dataset_card
from dca.formats.sft import sft_row, write_sft
from dca.formats.spans import SpanLink, SpanRow, span_rows, write_spans

ROLLOUT = Rollout(
    id="r1",
    group_id="g1",
    task="sums",
    prompt=(Message("user", "What is 1+1? 👍🏽"),),
    completion="One and one.\u2028👍🏽 So 2.",
    reward=1.0,
    model="m",
    step=3,
    tokens=Tokens(array("i", [1, 2, 3]), exact=True, prompt_ids=array("i", [9])),
)
VERSION = ConsensusVersion(
    method="vote",
    params=ConsensusParams(),
    label_set="contribution-v1",
    panel=("one", "two"),
    reviewers={"one": "d1", "two": "d2"},
    weights={"one": 1.0, "two": 1.0},
    n_eff=1.6,
    rollouts=1,
    shares={Status.AGREED: 0.75, Status.DISPUTED: 0.25},
    agreement={
        "alpha": Figure(0.5, 0.25, 0.75, 40),
        "kappa": Figure(0.5, n=3),
        "links": Figure(None, reason="no link"),
    },
    dca_version="0.1.0",
    id=7,
    created="2026-01-01T00:00:00Z",
)
CONSENSUS = Consensus(
    rollout_id="r1",
    spans=(
        AgreedSpan(
            Span(0, 12), Status.AGREED, "setup", 1.0, {"setup": 1.0}, {"one": "setup"}, 1.0, 0.5
        ),
        AgreedSpan(Span(12, 21), Status.DISPUTED, None, 0.5, {}, {}, 0.5, 1.0),
    ),
    links=(AgreedLink(0, 1, LinkKind.USES, 0.75, ("one", "two"), dropped="a cycle"),),
    blame=PanelBlame(Status.AGREED, Span(13, 15), 1.0, {}),
    soundness=PanelSoundness(Status.AGREED, Soundness.SOUND, 1.0, {}),
)


def review(digest, *steps):
    return Review(ReviewKey("r1", digest, "p", "contribution-v1"), steps)


REVIEWS = (
    review(
        "d1",
        Step(Span(0, 3), "setup", reason="short"),
        Step(Span(3, 12), "setup", reason="restates \ud83d"[:9]),
    ),
    review("d2", Step(Span(12, 14), "idle")),
    review("not-in-the-panel", Step(Span(0, 21), "idle", reason="x")),
)


def test_a_span_row_holds_text_votes_reasons_and_links():
    first, second = span_rows(ROLLOUT, CONSENSUS, VERSION, REVIEWS)

    assert (first.text, second.text) == ("One and one.", "\u2028👍🏽 So 2.")
    assert (first.index, second.index, first.consensus) == (0, 1, 7)
    assert (first.label, first.votes, first.shares) == ("setup", {"one": "setup"}, {"setup": 1.0})
    assert (first.reasons, second.reasons) == ({"one": "restates "}, {})
    assert first.links == (SpanLink(1, LinkKind.USES, 0.75, ("one", "two"), "a cycle"),)
    assert second.links == ()
    assert (first.blamed, second.blamed) == (False, True)
    assert first.soundness is Soundness.SOUND


@pytest.mark.parametrize(
    "blame",
    [
        None,
        PanelBlame(Status.DISPUTED, Span(0, 12), 0.5, {}),
        PanelBlame(Status.AGREED, None, 1.0, {}),
    ],
)
def test_without_an_agreed_blame_no_span_is_blamed(blame):
    consensus = replace(CONSENSUS, blame=blame, soundness=None)
    rows = span_rows(ROLLOUT, consensus, VERSION)
    assert [row.blamed for row in rows] == [False, False]
    assert rows[0].soundness is None


def test_spans_come_back_as_they_were_written(tmp_path):
    rows = span_rows(ROLLOUT, CONSENSUS, VERSION, REVIEWS)
    path = tmp_path / "spans.jsonl"

    assert write_spans(path, rows) == 2
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=SpanRow) for line in lines] == rows
    line = json.loads(lines[0])
    assert (line["status"], line["start"], line["stop"]) == ("agreed", 0, 12)
    with pytest.raises(FormatError, match="cannot be written"):
        write_spans(tmp_path, [])


def test_only_successes_that_are_not_vetoed_are_imitated():
    row = sft_row(ROLLOUT, weight=0.5, token_weights=[1.0, 0.0, 2.0])

    assert [turn.content for turn in row.prompt] == ["What is 1+1? 👍🏽"]
    assert [(turn.role, turn.content) for turn in row.completion] == [
        ("assistant", ROLLOUT.completion)
    ]
    assert (row.weight, row.token_weights) == (0.5, [1.0, 0.0, 2.0])
    assert (row.prompt_ids, row.completion_ids) == ([9], [1, 2, 3])
    assert sft_row(replace(ROLLOUT, reward=0.5)) is not None
    assert sft_row(replace(ROLLOUT, reward=0.49)) is None
    assert sft_row(replace(ROLLOUT, reward=0.49), success_at=0.4) is not None
    assert sft_row(replace(ROLLOUT, reward=None)) is None
    assert sft_row(ROLLOUT, weight=0.0) is None
    bare = sft_row(replace(ROLLOUT, tokens=None))
    assert (bare.completion_ids, bare.prompt_ids, bare.token_weights) == (None, None, None)


def test_weights_that_do_not_fit_are_refused():
    for changes in ({"weight": -1.0}, {"token_weights": [1.0, -1.0, 0.0]}):
        with pytest.raises(FormatError, match="no negative weights"):
            sft_row(ROLLOUT, **changes)
    with pytest.raises(FormatError, match="2 token weights for 3 stored tokens"):
        sft_row(ROLLOUT, token_weights=[1.0, 1.0])
    with pytest.raises(FormatError, match="1 token weights for 0 stored tokens"):
        sft_row(replace(ROLLOUT, tokens=None), token_weights=[1.0])


def test_imitation_rows_load_with_datasets_from_both_formats(tmp_path):
    from datasets import load_dataset  # noqa: PLC0415 - slow to load, and only wanted here

    rows = [
        sft_row(ROLLOUT, token_weights=[1.0, 0.0, 2.0]),
        sft_row(replace(ROLLOUT, id="r2", tokens=None), weight=0.25),
    ]
    loaded = {}
    for name, kind in (("a.jsonl", "json"), ("a.parquet", "parquet")):
        path = tmp_path / name
        assert write_sft(path, rows) == 2
        data = load_dataset(kind, data_files=str(path), cache_dir=str(tmp_path / "cache"))
        loaded[kind] = data["train"].to_list()

    assert loaded["json"] == loaded["parquet"]
    one, two = loaded["parquet"]
    assert one["prompt"] == [{"role": "user", "content": "What is 1+1? 👍🏽"}]
    assert one["completion"] == [{"role": "assistant", "content": ROLLOUT.completion}]
    assert (one["token_weights"], two["token_weights"]) == ([1.0, 0.0, 2.0], None)
    assert two["weight"] == 0.25


def test_many_imitation_rows_are_written_in_batches(tmp_path):
    path = tmp_path / "a.parquet"
    row = sft_row(ROLLOUT)
    assert write_sft(path, (row for _ in range(1001))) == 1001
    assert pq.read_metadata(path).num_rows == 1001


def test_imitation_rows_need_a_known_suffix_and_a_place(tmp_path):
    with pytest.raises(FormatError, match="written as"):
        write_sft(tmp_path / "a.csv", [])
    with pytest.raises(FormatError, match="cannot be written"):
        write_sft(tmp_path / "no" / "a.jsonl", [])


def test_the_card_says_what_is_there_and_what_to_beware_of():
    card = dataset_card(
        CardFacts(
            title='Sums: "1+1"',
            files={"tokens.parquet": 1200},
            rollouts=1200,
            groups=300,
            successes=600,
            labels=CONTRIBUTION_V1,
            version=VERSION,
            method="deliberative",
            tokens=1000,
            credited=250,
            exact_ids=1000,
            counts={"vetoed": 3},
            warnings=("offline panel | rules",),
            dca_version="0.1.0",
        )
    )

    for line in [
        'pretty_name: "Sums: \\"1+1\\""',
        "| tokens.parquet | 1,200 |",
        "| tokens with credit | 250 (25.0%) |",
        "| tokenizer | not known |",
        "| vetoed | 3 |",
        "| version | 7 (vote, 2026-01-01T00:00:00Z) |",
        "| effective reviewers | 1.60 of 2 |",
        "| text agreed | 75.0% |",
        "| text thin | 0.0% |",
        "| agreement: alpha | 0.500 [0.250, 0.750] (n = 40) |",
        "| agreement: kappa | 0.500 (n = 3) |",
        "| agreement: links | n/a: no link |",
        "| 5 | X | harmful | -1 | wrong or misleading |",
        "- offline panel \\| rules",
        "- 200 rollouts carry token ids made from the text, not the sampled ones.",
        "| made by | deliberative-credit-assignment 0.1.0 |",
    ]:
        assert line in card.splitlines(), line


def test_a_card_without_consensus_and_credit_says_so():
    card = dataset_card(CardFacts("T", {}, 0, 0, 0, CONTRIBUTION_V1))
    assert "No consensus is behind this export." in card
    assert card.endswith("## Warnings\n\nNone.\n")
    assert "| made by | deliberative-credit-assignment |" in card
    empty = dataset_card(CardFacts("T", {}, 0, 0, 0, CONTRIBUTION_V1, method="grpo"))
    assert "| tokens with credit | 0 |" in empty


def test_links_between_steps_need_no_part_in_the_reasons():
    linked = replace(REVIEWS[0], links=(Link(0, 1, LinkKind.USES),))
    assert span_rows(ROLLOUT, CONSENSUS, VERSION, [linked])[0].reasons == {"one": "restates "}
