"""Credit of a store: whole groups, one definition of success, and what is left out."""

import json
from array import array
from pathlib import Path

import numpy as np

from dca.domain.consensus import Status
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.rollout import Tokens
from dca.pipeline.consensus import settle_store
from dca.pipeline.credit import CreditOptions, assign_store
from dca.pipeline.export import ExportOrder, export_store
from dca.pipeline.review import review_store
from reviewers.rules import offline_panel
from store.consensus import consensus_of
from store.engine import transaction
from store.reviews import reviews_of
from store.rollouts import add_rollouts
from store.scores import latest_credit_run
from store.selection import Selection, parse_where
from tests.apple_sums import LUCKY, RIGHT, WRONG, fill, rollout
from training.row_files import read_rows
from training.tokens import Utf8Bytes, identity

ALL = Selection()


def test_without_consensus_deliberative_says_what_it_needs(store_engine) -> None:
    fill(store_engine)

    result = assign_store(store_engine, ["deliberative", "grpo"], ALL, labels=CONTRIBUTION_V1)

    assert result.consensus is None
    assert result.methods[0].missing == "n/a: needs consensus"
    assert result.methods[0].run is None
    assert result.methods[1].rollouts == 3


def test_ids_that_do_not_spell_their_text_cost_one_rollout_and_not_the_run(store_engine) -> None:
    ids = array("i", list(b"other words"))
    wrong = Tokens(ids, exact=True, tokenizer=identity(Utf8Bytes()))
    fill(store_engine, rollout("d", "these words", 0.0, tokens=wrong))

    result = assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1)

    assert result.methods[0].rollouts == 3
    assert result.methods[0].skipped == {"its token ids do not spell its text": 1}


def test_a_group_is_credited_whole_although_one_rollout_is_selected(store_engine) -> None:
    fill(store_engine)

    result = assign_store(store_engine, ["grpo"], parse_where("reward:<1"), labels=CONTRIBUTION_V1)

    assert result.groups == 1
    assert result.methods[0].rollouts == 3


def work(engine, tmp_path: Path, at: float) -> tuple[dict[str, int], list[str], str]:
    """Review, settle, credit and export with one definition of success.

    Returns:
        Events of the credit, the rollouts that are imitated, and the card beside them.
    """
    panel = offline_panel(success_at=at)
    review_store(engine, panel, ALL)
    settle_store(engine, panel, ALL)
    options = CreditOptions(success_at=at)
    credited = assign_store(engine, ["deliberative"], ALL, labels=CONTRIBUTION_V1, options=options)
    order = ExportOrder("sft", tmp_path, file_format="jsonl")
    exported = export_store(engine, order, labels=CONTRIBUTION_V1, success_at=at)
    rows = [json.loads(line) for line in exported.path.read_text().splitlines()]
    names = [row["rollout_id"][0] for row in rows]
    return dict(credited.methods[0].events), names, exported.card.read_text()


def test_one_definition_of_success_reaches_reviewers_veto_imitation_and_counts(
    store_engine, tmp_path: Path
) -> None:
    with transaction(store_engine) as session:
        rollouts = [rollout("a", RIGHT, 0.9), rollout("b", WRONG, 0.1), rollout("c", LUCKY, 0.6)]
        add_rollouts(session, rollouts)

    # The lucky attempt is a success, and its errors cancel: unsound, so vetoed.
    events, imitated, card = work(store_engine, tmp_path, 0.5)
    assert events["vetoed"] == 1
    assert imitated == ["a"]
    assert "| successes | 2 |" in card

    # From 0.8 on it is a failure: blamed, not judged unsound. Its advantage, 0.6 against a mean of
    # 0.53, is positive, but it is not imitated.
    events, imitated, card = work(store_engine, tmp_path, 0.8)
    assert "vetoed" not in events
    assert imitated == ["a"]
    assert "| successes | 1 |" in card
    with transaction(store_engine) as session:
        reviews = reviews_of(session, ["c" * 20], label_set="contribution-v1")["c" * 20]
        run = latest_credit_run(session, "deliberative")
    assert len(reviews) == 8  # another definition is another question
    assert run is not None
    assert run.params["settings"] == {"success_at": 0.8}


def test_a_reward_that_is_not_known_is_no_success_even_where_all_others_are(
    store_engine, tmp_path: Path
) -> None:
    fill(store_engine, rollout("d", "2 + 2 = 4", None))

    _, imitated, card = work(store_engine, tmp_path, -1.0)

    assert "d" not in imitated
    assert "| successes | 3 |" in card


def test_credit_by_another_definition_of_success_is_stored_beside_the_first(store_engine) -> None:
    fill(store_engine)
    review_store(store_engine, offline_panel(), ALL)
    settle_store(store_engine, offline_panel(), ALL)

    def sources(at: float) -> tuple[object, object]:
        methods = ["deliberative", "grpo"]
        options = CreditOptions(success_at=at)
        assign_store(store_engine, methods, ALL, labels=CONTRIBUTION_V1, options=options)
        with transaction(store_engine) as session:
            runs = [latest_credit_run(session, method) for method in methods]
        return tuple(run.params["source"] for run in runs if run)

    one, other = sources(0.5), sources(2.0)

    assert one[0] != other[0]
    assert one[1] == other[1]  # GRPO knows rewards only


def test_confidence_weights_each_agreed_token_by_the_share_of_its_label(
    store_engine, tmp_path: Path
) -> None:
    # Two of three reviewers take the last calculation for the decisive one.
    text = "3 * 4 = 12 apples.\nTwo are eaten, so 12 - 2 = 10 remain.\n12 - 2 = 10.\nAnswer: 10"
    fill(store_engine, rollout("d", text, 1.0))
    panel = offline_panel()
    review_store(store_engine, panel, ALL)
    version = settle_store(store_engine, panel, ALL).version
    options = CreditOptions({"confidence": True, "success": "mask"})
    assign_store(store_engine, ["deliberative"], ALL, labels=CONTRIBUTION_V1, options=options)
    exported = export_store(store_engine, ExportOrder("tokens", tmp_path), labels=CONTRIBUTION_V1)

    row = next(row for row in read_rows(exported.path) if row.rollout_id[0] == "d")
    with transaction(store_engine) as session:
        spans = consensus_of(session, version.id, [row.rollout_id])[row.rollout_id].spans
    share_T, value_T = np.zeros(len(row)), np.zeros(len(row))
    for span in (item for item in spans if item.status is Status.AGREED):
        share_T[span.span.start : span.span.stop] = span.share
        value_T[span.span.start : span.span.stop] = CONTRIBUTION_V1[span.label or ""].value
    assert 0 < share_T[share_T > 0].min() < 0.99  # the panel is not of one mind everywhere
    np.testing.assert_allclose(row.confidence, share_T, rtol=1e-6)
    np.testing.assert_allclose(row.weight, np.maximum(value_T, 0) * share_T, rtol=1e-6)
