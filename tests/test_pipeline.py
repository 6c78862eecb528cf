"""Review, consensus, credit and export over a real store, on both databases."""

import json
import multiprocessing
import os
import signal
import threading
import time
from array import array
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dca.consensus.settle import Document, seat, settle
from dca.domain.consensus import ConsensusParams, Status
from dca.domain.errors import ConfigError, CreditError, NothingSelected, UsageError
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.domain.rollout import Rollout, Tokens
from dca.formats.spans import SpanRow
from dca.pipeline.consensus import settle_store
from dca.pipeline.credit import CreditOptions, assign_store
from dca.pipeline.export import ExportOrder, export_store
from dca.pipeline.review import review_store
from reviewers.rules import offline_panel
from store.consensus import consensus_of, list_versions
from store.engine import open_store, transaction
from store.jobs import list_jobs
from store.reviews import count_answers, reviews_of
from store.rollouts import add_rollouts
from store.selection import Selection, parse_where
from tests.apple_sums import LUCKY, PROMPT, RIGHT, WRONG, fill, rollout
from training.row_files import read_rows
from training.tokens import Utf8Bytes, identity

ALL = Selection()
PANEL = offline_panel()


def test_a_panel_reviews_once_and_running_again_asks_nobody(store_engine) -> None:
    fill(store_engine)

    first = review_store(store_engine, PANEL, ALL)
    again = review_store(store_engine, PANEL, ALL)

    assert first.complete
    assert [(row.name, row.asked, row.reviews, row.cached) for row in first.reviewers] == [
        (name, 3, 3, 0) for name in ("arithmetic", "dataflow", "revision", "novelty")
    ]
    assert [(row.asked, row.cached, row.pending) for row in again.reviewers] == [(0, 3, 0)] * 4
    with transaction(store_engine) as session:
        assert sum(row.reviews for row in count_answers(session)) == 12
        assert [(job.kind, job.status, job.done) for job in list_jobs(session)] == [
            ("review", "done", 0),
            ("review", "done", 12),
        ]


def test_a_run_that_is_told_to_stop_keeps_what_it_has_and_goes_on_later(store_engine) -> None:
    fill(store_engine)
    stop = threading.Event()
    stop.set()

    stopped = review_store(store_engine, PANEL, ALL, stop=stop)
    rest = review_store(store_engine, PANEL, ALL)

    assert stopped.stopped
    assert not stopped.complete
    assert sum(row.pending for row in stopped.reviewers) == 12
    assert rest.complete
    assert sum(row.asked for row in rest.reviewers) == 12


def test_consensus_credit_and_rows_of_three_attempts(store_engine, tmp_path: Path) -> None:
    fill(store_engine)
    review_store(store_engine, PANEL, ALL)

    settled = settle_store(store_engine, PANEL, ALL)
    credited = assign_store(
        store_engine, ["uniform", "grpo", "deliberative"], ALL, labels=CONTRIBUTION_V1
    )
    exported = export_store(store_engine, ExportOrder("tokens", tmp_path), labels=CONTRIBUTION_V1)

    assert settled.version.rollouts == 3
    assert sum(settled.version.shares.values()) == pytest.approx(1.0)
    assert settled.version.agreement["alpha"].n == 3
    by_method = {row.method: row for row in credited.methods}
    assert by_method["grpo"].events == {}
    # The wrong product is blamed; in the lucky attempt two errors cancel.
    assert by_method["deliberative"].events["vetoed"] == 1
    assert "unblamed" not in by_method["deliberative"].events
    rows = {row.rollout_id[0]: row for row in read_rows(exported.path)}
    assert set(rows) == set("abc")
    assert not rows["c"].credit_mask.any()
    blamed = rows["b"].weight > 0
    wrong = RIGHT.index("3 * 4"), RIGHT.index("apples.")
    assert blamed.any()
    assert set(np.flatnonzero(blamed)) <= set(range(*wrong))
    np.testing.assert_allclose(rows["b"].advantage, rows["b"].advantage[0])
    assert rows["b"].advantage[0] < 0 < rows["a"].advantage[0]
    assert rows["a"].completion == RIGHT
    assert rows["a"].completion_ids.tolist() == list(RIGHT.encode())
    assert not rows["a"].provenance.ids_exact
    assert rows["a"].provenance.panel == ("arithmetic", "dataflow", "novelty", "revision")
    assert exported.tokens == len(RIGHT) + len(WRONG) + len(LUCKY)
    assert sum(exported.labels.values()) == exported.tokens
    assert any("good for SFT only" in warning for warning in exported.warnings)
    assert "deliberative" in exported.card.read_text()


def test_the_same_votes_and_settings_are_one_version(store_engine) -> None:
    fill(store_engine)
    review_store(store_engine, PANEL, ALL)

    first = settle_store(store_engine, PANEL, ALL)
    again = settle_store(store_engine, PANEL, ALL)
    other = settle_store(store_engine, PANEL, ALL, params=ConsensusParams(quorum=0.9))

    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert again.version == first.version
    assert other.previous == first.version
    with transaction(store_engine) as session:
        assert [item.id for item in list_versions(session)] == [2, 1]
        assert list_versions(session)[1] == first.version


def test_the_stored_consensus_is_that_of_the_pure_function(store_engine) -> None:
    fill(store_engine)
    review_store(store_engine, PANEL, ALL)
    version = settle_store(store_engine, PANEL, ALL).version
    names = {reviewer.info.digest: reviewer.info.name for reviewer in PANEL}
    infos = [reviewer.info for reviewer in PANEL]

    with transaction(store_engine) as session:
        ids = [name * 20 for name in "abc"]
        stored = consensus_of(session, version.id, ids)
        reviews = reviews_of(session, ids, label_set="contribution-v1")

    for key, text in zip(ids, (RIGHT, WRONG, LUCKY), strict=True):
        given = {names[review.key.reviewer]: review for review in reviews[key]}
        bench = seat(infos, ConsensusParams())
        pure = settle([Document(key, text, given)], bench, CONTRIBUTION_V1, ConsensusParams())
        assert stored[key].spans == pure.consensus[0].spans
        assert stored[key].blame == pure.consensus[0].blame
        assert stored[key].soundness == pure.consensus[0].soundness


def test_rollouts_without_reward_or_placeable_tokens_are_left_out_and_counted(
    store_engine, tmp_path: Path
) -> None:
    bare = Tokens(array("i", [5, 6]), exact=True, tokenizer="other@1")
    fill(
        store_engine,
        rollout("d", "no reward", None),
        rollout("e", "hi", 0.0, tokens=bare),
    )

    result = assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1)
    exported = export_store(
        store_engine,
        ExportOrder("tokens", tmp_path, method="grpo", file_format="jsonl"),
        labels=CONTRIBUTION_V1,
    )

    assert result.methods[0].rollouts == 3
    assert result.methods[0].skipped == {"no reward": 1, "needs a tokenizer": 1}
    assert exported.rows == 3
    assert exported.skipped == {"no credit": 2}


def test_an_export_that_finds_nothing_leaves_the_earlier_file(store_engine, tmp_path) -> None:
    fill(store_engine)
    assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1)
    order = ExportOrder("tokens", tmp_path, method="grpo")
    first = export_store(store_engine, order, labels=CONTRIBUTION_V1)
    before = first.path.read_bytes()
    with transaction(store_engine) as session:
        add_rollouts(session, [Rollout("e" * 20, "new", "new", PROMPT, "later", 1.0)])

    with pytest.raises(NothingSelected):
        export_store(
            store_engine, order, labels=CONTRIBUTION_V1, selection=parse_where("task:new")
        )

    assert first.path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("*tokens*")) == [
        "tokens.parquet",
        "tokens.parquet.card.md",
    ]


def test_stored_ids_with_offsets_keep_their_log_probabilities(
    store_engine, tmp_path: Path
) -> None:
    text = "🙂 ok"
    # The smile is two tokens that share its offsets, as byte-level tokenizers report it.
    exact = Tokens(
        array("i", [7, 8, 9]),
        exact=True,
        tokenizer="mine@1",
        prompt_ids=array("i", [1, 2]),
        offsets=array("i", [0, 1, 0, 1, 1, 4]),
        logprobs=array("f", [-0.5, -0.25, -1.0]),
    )
    with transaction(store_engine) as session:
        add_rollouts(
            session,
            [rollout("a", text, 1.0, tokens=exact), rollout("b", text, 0.0, tokens=exact)],
        )
    assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1)

    exported = export_store(
        store_engine, ExportOrder("tokens", tmp_path, method="grpo"), labels=CONTRIBUTION_V1
    )

    row = next(read_rows(exported.path))
    assert row.completion_ids.tolist() == [7, 8, 9]
    assert row.prompt_ids.tolist() == [1, 2]
    assert row.logprobs is not None
    assert row.logprobs.tolist() == [-0.5, -0.25, -1.0]
    assert row.offsets.tolist() == [[0, 1], [0, 1], [1, 4]]
    assert row.provenance.ids_exact
    assert (row.provenance.tokenizer, row.provenance.tokenizer_sha) == ("mine", "1")
    assert exported.warnings == ()


def test_spans_are_exported_with_votes_and_reasons(store_engine, tmp_path: Path) -> None:
    fill(store_engine)
    review_store(store_engine, PANEL, ALL)
    settle_store(store_engine, PANEL, ALL)

    exported = export_store(store_engine, ExportOrder("spans", tmp_path), labels=CONTRIBUTION_V1)

    lines = exported.path.read_bytes().splitlines()
    rows = [msgspec.json.decode(line, type=SpanRow) for line in lines]
    assert {row.rollout_id[0] for row in rows} == set("abc")
    wrong = next(row for row in rows if row.rollout_id[0] == "b" and "= 14" in row.text)
    assert wrong.label == "harmful"
    assert wrong.blamed
    assert "12" in wrong.reasons["arithmetic"]
    assert "".join(row.text for row in rows if row.rollout_id[0] == "a") == RIGHT


def test_sft_rows_are_the_sound_successes_with_their_weights(store_engine, tmp_path: Path) -> None:
    fill(store_engine)
    review_store(store_engine, PANEL, ALL)
    settle_store(store_engine, PANEL, ALL)
    assign_store(store_engine, ["deliberative"], ALL, labels=CONTRIBUTION_V1)

    exported = export_store(
        store_engine, ExportOrder("sft", tmp_path, file_format="jsonl"), labels=CONTRIBUTION_V1
    )

    (row,) = [json.loads(line) for line in exported.path.read_text().splitlines()]
    assert row["rollout_id"] == "a" * 20
    assert row["completion"] == [{"role": "assistant", "content": RIGHT}]
    assert len(row["token_weights"]) == len(row["completion_ids"]) == len(RIGHT)
    assert sum(row["token_weights"]) == pytest.approx(len(RIGHT), rel=1e-5)


def test_what_cannot_be_done_is_said_with_what_to_do(store_engine, tmp_path: Path) -> None:
    tokens = ExportOrder("tokens", tmp_path, method="grpo")
    with pytest.raises(NothingSelected, match="no rollout is selected"):
        review_store(store_engine, PANEL, ALL)
    with pytest.raises(NothingSelected, match="no rollout is selected"):
        settle_store(store_engine, PANEL, ALL)
    with pytest.raises(NothingSelected, match="no rollout is selected"):
        assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1)
    with pytest.raises(NothingSelected, match="no rollout is selected"):
        export_store(store_engine, tokens, labels=CONTRIBUTION_V1)
    fill(store_engine)
    with pytest.raises(NothingSelected, match="has a review of this panel"):
        settle_store(store_engine, PANEL, ALL)
    with pytest.raises(CreditError, match="no credit method 'gae'"):
        assign_store(store_engine, ["gae"], ALL, labels=CONTRIBUTION_V1)
    with pytest.raises(NothingSelected, match="there is no credit of method 'grpo'"):
        export_store(store_engine, tokens, labels=CONTRIBUTION_V1)
    with pytest.raises(NothingSelected, match="there is no consensus"):
        export_store(store_engine, ExportOrder("spans", tmp_path), labels=CONTRIBUTION_V1)
    with pytest.raises(UsageError, match="JSON Lines"):
        export_store(
            store_engine,
            ExportOrder("spans", tmp_path, file_format="parquet"),
            labels=CONTRIBUTION_V1,
        )
    with pytest.raises(ConfigError, match="'good' is not a label"):
        settle_store(store_engine, PANEL, ALL, params=ConsensusParams(unmarked="good"))
    assign_store(store_engine, ["grpo"], ALL, labels=CONTRIBUTION_V1, tokenizer=Utf8Bytes())
    with pytest.raises(ConfigError, match=f"with tokenizer {identity(Utf8Bytes())}, not none"):
        export_store(store_engine, tokens, labels=CONTRIBUTION_V1)
    with pytest.raises(NothingSelected, match="anything to export as sft"):
        export_store(
            store_engine,
            ExportOrder("sft", tmp_path, method="grpo"),
            labels=CONTRIBUTION_V1,
            selection=parse_where("reward:<1"),
            tokenizer=Utf8Bytes(),
        )
    with transaction(store_engine) as session:
        assert list_versions(session) == []  # the failed vote left nothing


def test_a_panel_votes_in_one_label_set(store_engine) -> None:
    fill(store_engine)
    mine = LabelSet("mine", tuple(Label(x.key, x.letter, x.value, "x") for x in CONTRIBUTION_V1))
    mixed = (PANEL[0], offline_panel(mine)[1])

    with pytest.raises(ConfigError, match="one label set, not in 2"):
        settle_store(store_engine, mixed, ALL)
    review_store(store_engine, PANEL, ALL)
    version = settle_store(store_engine, PANEL, ALL).version
    with pytest.raises(ConfigError, match="is in label set 'contribution-v1'"):
        assign_store(
            store_engine,
            ["deliberative"],
            ALL,
            labels=mine,
            options=CreditOptions(consensus=version.id),
        )


def review_in_child(url: str) -> None:
    engine = open_store(url)
    review_store(engine, PANEL, ALL, concurrency=4)


def test_kill_9_during_review_loses_and_doubles_nothing(store_url) -> None:
    engine = open_store(store_url)
    with transaction(engine) as session:
        add_rollouts(
            session,
            [
                Rollout(f"{n:020d}", f"g{n // 4}", "sums", PROMPT, f"{RIGHT} ({n})", 1.0)
                for n in range(600)
            ],
        )

    def stored() -> int:
        with transaction(engine) as session:
            return sum(row.reviews for row in count_answers(session))

    seen = 0
    for _ in range(2):
        child = multiprocessing.get_context("spawn").Process(
            target=review_in_child, args=(store_url,)
        )
        child.start()
        deadline = time.monotonic() + 60
        while stored() <= seen and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if child.pid and child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert stored() > seen
        seen = stored()

    result = review_store(engine, PANEL, ALL)

    assert result.complete
    assert sum(row.cached for row in result.reviewers) == seen
    assert stored() == 4 * 600
    version = settle_store(engine, PANEL, ALL).version
    assert version.rollouts == 600
    assert version.shares[Status.UNCOVERED] < 1.0
    engine.dispose()
