import dataclasses
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dca.domain.errors import FormatError, RowError
from dca.domain.rollout import Message, Rollout, Sampling
from dca.formats.sft import sft_row, write_sft
from training import row_parquet
from training.row_files import file_digest, read_rows, write_rows
from training.rows import NO_LABEL, SFT_HINT, NeutralRow, Provenance, check_row, require_rl

PROVENANCE = Provenance(
    consensus="7",
    label_set="contribution-v1",
    panel=("arithmetic", "dataflow"),
    tokenizer="utf8-bytes",
    tokenizer_sha="abc",
    ids_exact=True,
    dca_version="0.1.0",
)


def make_row(text: str = "2+2=4", **changes: object) -> NeutralRow:
    """One token per byte; every column filled."""
    data = text.encode()
    count = len(data)
    at = np.array([len(data[:i].decode(errors="ignore")) for i in range(count)], np.int32)
    row = NeutralRow(
        rollout_id="r1",
        group_id="g1",
        task="math",
        step=3,
        model="policy",
        prompt_ids=np.array([1, 2, 3], np.int32),
        completion_ids=np.frombuffer(data, np.uint8).astype(np.int32),
        completion_mask=np.ones(count, np.bool_),
        offsets=np.stack([at, np.maximum(at, [*at[1:], len(text)])], axis=1).astype(np.int32),
        logprobs=np.full(count, -0.1, np.float32),
        ref_logprobs=None,
        sampling=Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=5, truncated=False),
        reward=1.0,
        method="deliberative",
        advantage=np.full(count, 0.7, np.float32),
        weight=np.ones(count, np.float32),
        credit_mask=np.ones(count, np.bool_),
        label=np.zeros(count, np.int8),
        span_id=np.zeros(count, np.int32),
        confidence=np.full(count, 2 / 3, np.float32),
        completion=text,
        provenance=PROVENANCE,
    )
    return dataclasses.replace(row, **changes)


def same(one: NeutralRow, other: NeutralRow) -> bool:
    def facts(row: NeutralRow) -> list[object]:
        values = [getattr(row, field.name) for field in dataclasses.fields(row)]
        return [
            (value.dtype, value.shape, value.tolist()) if isinstance(value, np.ndarray) else value
            for value in values
        ]

    return facts(one) == facts(other)


@st.composite
def rows(draw) -> NeutralRow:
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
    count = len(text.encode())

    def per_token(values, kind):
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), kind)

    number = st.floats(-50, 50, width=32)
    maybe_number = st.none() | st.floats(0, 2)
    return make_row(
        text,
        step=draw(st.none() | st.integers(0, 2**40)),
        prompt_ids=np.array(draw(st.lists(st.integers(0, 2**31 - 1), max_size=4)), np.int32),
        logprobs=draw(st.none()) or -abs(per_token(number, np.float32)),
        ref_logprobs=None if draw(st.booleans()) else -abs(per_token(number, np.float32)),
        sampling=Sampling(
            temperature=draw(maybe_number),
            top_p=draw(maybe_number),
            top_k=draw(st.none() | st.integers(-1, 100)),
            min_p=draw(maybe_number),
            seed=draw(st.none() | st.integers(0, 2**62)),
            truncated=draw(st.none() | st.booleans()),
        ),
        reward=draw(st.floats(-10, 10)),
        advantage=per_token(number, np.float32),
        weight=abs(per_token(number, np.float32)),
        credit_mask=per_token(st.booleans(), np.bool_),
        completion_mask=per_token(st.booleans(), np.bool_),
        label=per_token(st.integers(NO_LABEL, 7), np.int8),
        span_id=per_token(st.integers(NO_LABEL, 99), np.int32),
        persona=draw(st.none() | st.just("strict")),
    )


@settings(max_examples=40, deadline=None)
@given(sample=st.lists(rows(), max_size=5))
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_rows_come_back_as_they_were_written(tmp_path_factory, suffix, sample) -> None:
    path = tmp_path_factory.mktemp("rows") / f"tokens.{suffix}"

    written = write_rows(path, sample)
    back = list(read_rows(path))

    assert written.rows == len(back) == len(sample)
    assert all(same(one, other) for one, other in zip(sample, back, strict=True))
    assert written.digest == file_digest(path)
    assert written.tokens == sum(int(row.completion_mask.sum()) for row in sample)


def test_both_formats_hold_the_same_rows(tmp_path) -> None:
    sample = [make_row("2+2=4"), make_row("é😀", logprobs=None, rollout_id="r2", step=None)]
    write_rows(tmp_path / "a.parquet", sample)
    write_rows(tmp_path / "b.jsonl", read_rows(tmp_path / "a.parquet"))
    write_rows(tmp_path / "c.parquet", read_rows(tmp_path / "b.jsonl"))

    assert file_digest(tmp_path / "a.parquet") == file_digest(tmp_path / "c.parquet")
    first = json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])
    assert first["schema"] == "dca-rows-1"
    assert first["offsets"] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert first["provenance"]["panel"] == ["arithmetic", "dataflow"]
    assert first["reward"] == 1.0


def test_the_writer_counts_what_has_credit(tmp_path) -> None:
    #                        2      +      2      =      4
    sampled = np.array([True, True, True, True, False])
    credited = np.array([True, False, False, True, True])

    written = write_rows(
        tmp_path / "tokens.jsonl", [make_row(completion_mask=sampled, credit_mask=credited)]
    )

    assert (written.rows, written.tokens, written.credited) == (1, 4, 2)


def broken(**changes: object) -> NeutralRow:
    return make_row("abcde", **changes)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (broken(completion_ids=np.array([], np.int32)), "completion_ids: no tokens"),
        (broken(weight=floats(1, 1)), "weight: 2 values for 5 tokens"),
        (broken(label=np.zeros(4, np.int8)), "label: 4 values for 5 tokens"),
        (broken(offsets=np.zeros((5, 3), np.int32)), r"offsets: shape \(5, 3\), not \(5, 2\)"),
        (broken(offsets=np.zeros((4, 2), np.int32)), "offsets: 4 values for 5 tokens"),
        (broken(reward=float("nan")), "reward: nan is not finite"),
        (
            broken(weight=floats(1, 1, -0.5, 1, 1)),
            r"weight: -0\.5 at token 2 is outside \[0\.0, i",
        ),
        (broken(weight=floats(1, np.inf, 1, 1, 1)), "weight: inf at token 1"),
        (broken(advantage=floats(0, 0, 0, np.nan, 0)), "advantage: nan at token 3"),
        (broken(logprobs=floats(-1, -1, 0.5, 0, 0)), r"logprobs: 0\.5 at token 2 is outside"),
        (broken(ref_logprobs=floats(-1, -np.inf, 0, 0, 0)), "ref_logprobs: -inf at token 1"),
        (broken(confidence=floats(0, 1, 1.5, 0, 0)), r"confidence: 1\.5 at token 2"),
        (
            broken(offsets=np.array([[0, 1], [1, 2], [2, 1], [3, 4], [4, 5]], np.int32)),
            "offsets: token 2 ends before it starts",
        ),
        (
            broken(offsets=np.array([[0, 1], [1, 2], [0, 3], [3, 4], [4, 5]], np.int32)),
            "offsets: token 2 goes backwards",
        ),
        (
            broken(offsets=np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 6]], np.int32)),
            "offsets: outside the text of 5 characters",
        ),
        (broken(weight=np.ones(5)), "weight: float64 where float32 belongs"),
        (broken(prompt_ids=np.array([1, -2], np.int32)), "prompt_ids: a token id is negative"),
        (broken(label=np.array([0, 8, 0, 0, 0], np.int8)), r"label: outside \[-1, 8\)"),
        (broken(span_id=np.array([0, -2, 0, 0, 0], np.int32)), "span_id: below -1"),
    ],
)
def test_a_row_that_breaks_its_contract_is_named(row, message) -> None:
    with pytest.raises(RowError, match=rf"^row 4 \(rollout r1\): {message}") as caught:
        check_row(row, 4)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"consensus": "8"}, "consensus"),
        ({"label_set": "other"}, "label_set"),
        ({"tokenizer_sha": "def"}, "tokenizer"),
    ],
)
def test_a_file_holds_one_consensus_label_set_and_tokenizer(tmp_path, change, field) -> None:
    other = make_row(rollout_id="r2", provenance=dataclasses.replace(PROVENANCE, **change))
    path = tmp_path / "tokens.parquet"
    write_rows(path, [make_row()])
    before = path.read_bytes()

    with pytest.raises(RowError, match=rf"^row 2 \(rollout r2\): provenance.{field}: is "):
        write_rows(path, [make_row(), other])

    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["tokens.parquet"]


def test_a_tokenizer_under_another_name_is_the_same_when_its_digest_is(tmp_path) -> None:
    renamed = make_row(provenance=dataclasses.replace(PROVENANCE, tokenizer="copy"))

    assert write_rows(tmp_path / "tokens.jsonl", [make_row(), renamed]).rows == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (make_row(logprobs=None), "logprobs: no behaviour log-probabilities"),
        (
            make_row(provenance=dataclasses.replace(PROVENANCE, ids_exact=False)),
            "ids_exact: the ids are not the sampled ones",
        ),
        (make_row(sampling=Sampling(temperature=0.0)), "temperature: greedy sampling"),
        (make_row(sampling=Sampling(top_p=0.9)), "sampling: top_p, top_k or min_p cut candidates"),
        (make_row(sampling=Sampling(top_k=50)), "sampling: top_p"),
        (make_row(sampling=Sampling(min_p=0.05)), "sampling: top_p"),
    ],
)
def test_a_row_without_an_importance_ratio_is_good_for_sft_only(row, message) -> None:
    with pytest.raises(RowError, match=rf"^row 2 \(rollout r1\): {message}") as caught:
        list(require_rl([make_row(), row]))
    assert SFT_HINT in str(caught.value.hint)


def test_truncated_sampling_can_be_allowed() -> None:
    row = make_row(sampling=Sampling(temperature=1.0, top_p=0.9))

    assert list(require_rl([row], allow_truncated_sampling=True)) == [row]


def test_a_name_that_is_no_row_file_is_refused(tmp_path) -> None:
    with pytest.raises(FormatError, match=r"not \.csv"):
        write_rows(tmp_path / "tokens.csv", [make_row()])
    with pytest.raises(FormatError, match="without suffix"):
        read_rows(tmp_path / "tokens")
    with pytest.raises(FormatError, match="no such file"):
        read_rows(tmp_path / "tokens.parquet")
    with pytest.raises(FormatError, match="a folder, not a file") as caught:
        read_rows(tmp_path)
    assert "tokens.parquet" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_an_export_for_sft_trainers_is_named(tmp_path, suffix) -> None:
    rollout = Rollout("r1", "g1", "sum", (Message("user", "2+2?"),), "4", reward=1.0)
    path = tmp_path / f"sft.{suffix}"
    write_sft(path, [sft_row(rollout)])

    with pytest.raises(FormatError, match="an SFT export for TRL's SFTTrainer") as caught:
        list(read_rows(path))
    assert caught.value.hint == "dca export --to tokens"


def parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


@pytest.fixture
def table(tmp_path) -> pa.Table:
    path = tmp_path / "good.parquet"
    write_rows(path, [make_row()])
    return pq.read_table(path)


def test_a_parquet_file_of_something_else_is_refused(tmp_path, table) -> None:
    path = tmp_path / "bad.parquet"
    at = table.schema.get_field_index("weight")
    null_weight = table.set_column(at, "weight", pa.nulls(1, pa.list_(pa.float32())))
    hole = table.set_column(at, "weight", pa.array([[1.0, None, 1.0, 1.0, 1.0]]))
    text = table.set_column(at, "weight", pa.array(["heavy"]))

    with pytest.raises(FormatError, match="schema version is none, this version reads dca-rows-1"):
        list(read_rows(parquet(path, table.replace_schema_metadata(None))))
    with pytest.raises(FormatError, match="column 'weight' is missing"):
        list(read_rows(parquet(path, table.drop_columns("weight"))))
    for nulls in (null_weight, hole):
        with pytest.raises(FormatError, match="column 'weight' holds null"):
            list(read_rows(parquet(path, nulls)))
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        list(read_rows(parquet(path, text)))
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FormatError, match="not a readable Parquet file"):
        list(read_rows(path))


def test_a_null_where_null_may_be_is_still_no_number(tmp_path, table) -> None:
    at = table.schema.get_field_index("logprobs")
    hole = table.set_column(at, "logprobs", pa.array([[-1.0, None, -1.0, -1.0, -1.0]]))

    with pytest.raises(RowError, match="logprobs: nan at token 1"):
        list(read_rows(parquet(tmp_path / "bad.parquet", hole)))


def test_wider_columns_of_other_writers_are_read(tmp_path, table) -> None:
    at = table.schema.get_field_index("advantage")
    wide = table.set_column(at, "advantage", pa.array([[0.7] * 5], pa.large_list(pa.float64())))

    (row,) = read_rows(parquet(tmp_path / "wide.parquet", wide))

    assert same(row, make_row())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"dca-rows-1"', b'"dca-rows-0"', "line 2: schema version is dca-rows-0"),
        (b'"weight"', b'"wait"', "line 2: Object missing required field `weight`"),
        (b'"reward":1.0', b'"reward":"high"', "line 2: Expected `float`, got `str`"),
        (b'"completion":"2+2', b'"completion":"\xff', "line 2: "),
        (b"}\n", b"\n", "line 2: "),
        (b'"label":[0', b'"label":[300', "line 2: label: "),
        (b'"completion_ids":[50', b'"completion_ids":[5000000000', "line 2: completion_ids: "),
    ],
)
def test_a_line_that_is_no_row_is_refused_with_its_number(tmp_path, old, new, message) -> None:
    path = tmp_path / "tokens.jsonl"
    write_rows(path, [make_row(), make_row()])
    first, second = path.read_bytes().splitlines(keepends=True)
    assert old in second
    path.write_bytes(first + second.replace(old, new))

    with pytest.raises(FormatError, match=message):
        list(read_rows(path))


def many(count: int) -> Iterator[NeutralRow]:
    for number in range(count):
        yield make_row("x" * 2_000, rollout_id=f"r{number}")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_files_are_written_and_read_in_bounded_memory(tmp_path, monkeypatch, suffix) -> None:
    monkeypatch.setattr(row_parquet, "GROUP_TOKENS", 10_000)
    monkeypatch.setattr(row_parquet, "READ_ROWS", 4)
    path = tmp_path / f"tokens.{suffix}"
    tracemalloc.start()
    write_rows(path, many(100))  # 200,000 tokens, about 8 MB of arrays
    assert sum(len(row) for row in read_rows(path)) == 200_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2_500_000
    if suffix == "parquet":
        assert pq.ParquetFile(path).num_row_groups == 20
