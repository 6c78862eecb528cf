"""Where tokens stand in a text: stored ids, ids without offsets, ids set aside."""

from array import array

import numpy as np
import pytest

from dca.domain.errors import MissingInput, RowError, TokenError
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.rollout import Message, Rollout, Tokens
from dca.pipeline.credit import CreditOptions, assign_store
from dca.pipeline.export import ExportOrder, export_store
from dca.pipeline.token_views import Retokenized, choose_reading, spelled, view_tokens
from store.engine import transaction
from store.rollouts import add_rollouts
from store.selection import Selection, parse_where
from tests.tokenizer_examples import FAST
from training.row_files import read_rows
from training.tokens import Utf8Bytes, identity

PROMPT = (Message("user", "7 * 8?"),)
TEXT = "the answer is 42."
BPE = FAST["byte-level"]
SPELLED = [int(BPE.encode(character)[0]) for character in TEXT]
"""One token per character: what a policy may sample and an encoder never gives."""
PLACES = [place for at in range(len(TEXT)) for place in (at, at + 1)]


def rollout(tokens: Tokens | None, reward: float = 1.0, text: str = TEXT) -> Rollout:
    key = f"{tokens is None:d}{reward:.0f}" + "0" * 18
    return Rollout(key, "g", "sums", PROMPT, text, reward, tokens=tokens)


def sampled(*, offsets: bool = False, tokenizer: str = "") -> Tokens:
    return Tokens(
        array("i", SPELLED),
        exact=True,
        tokenizer=tokenizer,
        offsets=array("i", PLACES) if offsets else None,
        logprobs=array("f", [-0.5] * len(SPELLED)),
    )


def test_ids_of_unknown_origin_are_never_read_as_bytes() -> None:
    ids = Tokens(array("i", list(TEXT.encode())), exact=True)

    for given in (None, Utf8Bytes()):
        with pytest.raises(MissingInput, match="needs a tokenizer") as caught:
            view_tokens(rollout(ids), given)
        assert "--tokenizer" in str(caught.value.hint)
        assert "--retokenize" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["utf8-bytes", identity(Utf8Bytes())])
def test_ids_that_say_they_are_bytes_need_no_tokenizer(name) -> None:
    ids = Tokens(array("i", list(TEXT.encode())), exact=True, tokenizer=name)

    view = view_tokens(rollout(ids), BPE)

    assert view.exact
    assert view.tokenizer == name
    assert view.start_T.tolist() == list(range(len(TEXT)))


def test_offsets_place_ids_of_unknown_origin_and_give_them_no_name() -> None:
    for given in (None, Utf8Bytes()):
        view = view_tokens(rollout(sampled(offsets=True)), given)

        assert view.offsets.ravel().tolist() == PLACES
        assert (view.tokenizer, view.prompt_ids.size, view.exact) == ("", 0, True)


@pytest.mark.parametrize("offsets", [True, False])
def test_ids_of_unknown_origin_are_tried_with_the_given_tokenizer(offsets) -> None:
    tokens = sampled(offsets=offsets)

    view = view_tokens(rollout(tokens), BPE)

    assert view.tokenizer == identity(BPE)
    assert view.offsets.ravel().tolist() == PLACES
    assert view.prompt_ids.tolist() == BPE.encode_prompt(PROMPT).tolist()
    for other in (FAST["spaced"], FAST["metaspace"]):
        with pytest.raises(TokenError):
            view_tokens(rollout(tokens), other)


def test_ids_of_a_named_tokenizer_are_not_spelled_with_another() -> None:
    named = identity(FAST["spaced"])

    placed = view_tokens(rollout(sampled(offsets=True, tokenizer=named)), BPE)

    assert placed.tokenizer == named
    assert placed.prompt_ids.size == 0
    with pytest.raises(MissingInput):
        view_tokens(rollout(sampled(tokenizer=named)), BPE)


def test_a_reading_of_the_text_sets_stored_ids_aside() -> None:
    view = view_tokens(rollout(sampled(offsets=True)), Retokenized())

    assert view.ids.tolist() == list(TEXT.encode())
    assert view.logprobs is None
    assert not view.exact
    assert view.tokenizer == identity(Utf8Bytes())


def test_a_reading_is_named_after_its_tokenizer() -> None:
    assert spelled(choose_reading(None, retokenize=False)) == ""
    assert spelled(choose_reading(BPE, retokenize=False)) == identity(BPE)
    assert spelled(choose_reading(None, retokenize=True)) == identity(Utf8Bytes())
    assert spelled(choose_reading(BPE, retokenize=True)) == identity(BPE)


def credit(engine, **options) -> None:
    tokenizer = options.pop("tokenizer", None)
    assign_store(
        engine,
        ["grpo"],
        Selection(),
        labels=CONTRIBUTION_V1,
        options=CreditOptions(**options),
        tokenizer=tokenizer,
    )


def exported(engine, folder, tokenizer=None, where=""):
    order = ExportOrder("tokens", folder, method="grpo")
    return export_store(
        engine,
        order,
        labels=CONTRIBUTION_V1,
        tokenizer=tokenizer,
        selection=parse_where(where),
    )


def test_an_export_reads_the_tokens_that_the_credit_was_made_with(store_engine, tmp_path) -> None:
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(sampled(), reward) for reward in (0.0, 1.0)])

    credit(store_engine, tokenizer=BPE)
    of_ids = list(read_rows(exported(store_engine, tmp_path, BPE).path))
    credit(store_engine, tokenizer=BPE, retokenize=True)
    of_text = exported(store_engine, tmp_path, BPE)
    credit(store_engine, retokenize=True)
    of_bytes = list(read_rows(exported(store_engine, tmp_path / "bytes").path))

    rows = list(read_rows(of_text.path))
    assert [row.completion_ids.tolist() for row in of_ids] == [SPELLED] * 2
    assert [row.completion_ids.tolist() for row in rows] == [BPE.encode(TEXT).tolist()] * 2
    assert [row.completion_ids.tolist() for row in of_bytes] == [list(TEXT.encode())] * 2
    assert len(rows[0]) < len(SPELLED)
    assert [row.logprobs is None for row in (of_ids[0], rows[0], of_bytes[0])] == [0, 1, 1]
    exact = [row.provenance.ids_exact for row in (of_ids[0], rows[0], of_bytes[0])]
    assert exact == [True, False, False]
    np.testing.assert_array_equal(rows[0].advantage, rows[0].advantage[0])
    assert "2 of 2 rows have ids made by tokenizing the text again" in of_text.warnings[0]
    assert "2 rollouts carry token ids made from the text" in of_text.card.read_text()


def test_sampled_ids_and_texts_are_parted_by_a_selection(store_engine, tmp_path) -> None:
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(sampled(offsets=True)), rollout(None, 0.0)])
    credit(store_engine)

    with pytest.raises(RowError, match=r"provenance\.tokenizer") as caught:
        exported(store_engine, tmp_path)
    sampled_ids = exported(store_engine, tmp_path / "a", where="ids:exact")
    texts = exported(store_engine, tmp_path / "b", where="ids:none")

    assert "--where ids:exact and --where ids:none" in str(caught.value.hint)
    assert [sampled_ids.rows, texts.rows] == [1, 1]
    assert sampled_ids.tokens == len(TEXT)


def test_the_cards_of_several_files_lie_side_by_side(store_engine, tmp_path) -> None:
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(None)])
    credit(store_engine)

    exported(store_engine, tmp_path)
    export_store(
        store_engine,
        ExportOrder("sft", tmp_path, method="grpo", file_format="jsonl"),
        labels=CONTRIBUTION_V1,
    )

    assert sorted(path.name for path in tmp_path.glob("*.md")) == [
        "sft.jsonl.card.md",
        "tokens.parquet.card.md",
    ]
    assert "| sft.jsonl | 1 |" in (tmp_path / "sft.jsonl.card.md").read_text()
