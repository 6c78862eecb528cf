"""Formats: each is recognised by its columns and read into the same kind of rollout."""

import gzip
import json
from collections import defaultdict, deque

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dca.domain.errors import BadRecord, FormatError, UsageError
from dca.domain.rollout import Message, Sampling, group_id
from dca.formats.build import Builder
from dca.formats.detect import detect, read_rows
from dca.formats.row import Reject, Row, Sample
from dca.formats.source import Source, expand_sources
from dca.formats.trl import reward_columns

USER = {"role": "user", "content": "What is 1+1?"}
ASSISTANT = {"role": "assistant", "content": "It is 2."}


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path, **options):
    """Return the name of a file's format, why, and its rollouts or the reasons against them."""
    (source,) = expand_sources([str(path)])
    mapping = options.get("mapping", {})
    found, rows = detect(source, read_rows(source, mapping), **options)
    builder = Builder()
    results = []
    for row in rows:
        if isinstance(row, Reject):
            results.append(row.reason)
            continue
        try:
            results.append(builder.build(found.reader(dict(row.fields))))
        except BadRecord as error:
            results.append(str(error))
    return found, results


def test_plain_json_lines_with_every_column(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl",
        {
            "id": 7,
            "prompt": "What is 1+1?",
            "completion": "<think>one and one</think>It is \\boxed{2}.",
            "reward": True,
            "rewards": {"format": 1, "length": None},
            "group": "q1",
            "task": "sums",
            "model": "m",
            "step": 3,
            "truth": 2,
            "temperature": 0.7,
            "top_p": 1,
            "top_k": -1,
            "min_p": 0,
            "seed": 5,
            "finish_reason": "length",
            "token_ids": [5, 6, 7],
            "prompt_ids": [1, 2],
            "logprobs": [-0.5, -1, 0],
            "offsets": [[0, 1], [1, 2], [2, 42]],
            "tokenizer": "t@1",
            "host": {"gpu": 3, "heat": None},
            "empty": None,
        },
    )
    found, (rollout,) = read(path)

    assert (found.format.name, found.reason) == ("plain", "columns 'prompt' and 'completion'")
    assert rollout.prompt == (Message("user", "What is 1+1?"),)
    assert rollout.think.text(rollout.completion) == "one and one"
    assert rollout.answer.text(rollout.completion) == "2"
    assert (rollout.reward, rollout.rewards, rollout.truth) == (1.0, {"format": 1.0}, "2")
    assert (rollout.task, rollout.model, rollout.step) == ("sums", "m", 3)
    assert rollout.sampling == Sampling(0.7, 1.0, -1, 0.0, 5, truncated=True)
    assert list(rollout.tokens.ids) == [5, 6, 7]
    assert list(rollout.tokens.prompt_ids) == [1, 2]
    assert list(rollout.tokens.logprobs) == [-0.5, -1.0, 0.0]
    assert list(rollout.tokens.offsets) == [0, 1, 1, 2, 2, 42]
    assert (rollout.tokens.exact, rollout.tokens.tokenizer) == (True, "t@1")
    assert rollout.meta == {
        "finish_reason": "length",
        "host": {"gpu": 3, "heat": None},
        "source_id": "7",
        "source_group": "q1",
    }


def test_a_mapping_renames_the_columns_of_a_csv_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer_text,points,qid\nWhat?,Four,0.5,q1\nWhat?,Five,,q1\n")
    mapping = {"prompt": "question", "completion": "answer_text", "reward": "points"}
    found, (one, two) = read(path, mapping=mapping)

    assert found.format.name == "plain"
    assert (one.reward, two.reward) == (0.5, None)
    assert one.group_id == two.group_id
    assert one.meta == {"source_group": "q1"}


def test_plain_rows_are_read_by_their_own_columns(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl",
        {"question": "Q", "response": "R", "score": 1},
        {"problem": "P", "solution": "S", "answer": "A", "is_correct": False},
        {"prompt": [USER], "completion": [ASSISTANT], "reasoning_content": "hm"},
        {"prompt": "P", "response": "R", "sampling": {"temperature": 1, "max": 9}, "truncated": 0},
        {"prompt": "P", "response": "R", "logprobs": [-1], "tokenizer": "t"},
    )
    _, (one, two, three, four, five) = read(path)

    assert (one.problem, one.completion, one.reward) == ("Q", "R", 1.0)
    assert (two.problem, two.completion, two.truth, two.reward) == ("P", "S", "A", 0.0)
    assert three.completion == "<think>\nhm\n</think>\n\nIt is 2."
    assert three.think.text(three.completion) == "\nhm\n"
    assert four.sampling == Sampling(temperature=1.0)
    assert four.meta == {"sampling": {"max": 9}, "truncated": 0}
    assert five.tokens is None
    assert five.meta == {"logprobs": [-1], "tokenizer": "t"}


def test_chat_takes_the_last_assistant_turn_and_puts_its_reasoning_before_it(tmp_path):
    turns = [
        {"role": "system", "content": "Be short."},
        USER,
        {"role": "assistant", "content": "Let me look.", "tool_calls": [{"name": "f"}]},
        {"role": "tool", "content": [{"type": "text", "text": "2"}, {"type": "image_url"}, "!"]},
        {**ASSISTANT, "reasoning_content": "The tool says 2."},
        {"role": "user", "content": "thanks"},
    ]
    path = write_lines(
        tmp_path / "a.jsonl",
        {"messages": turns, "score": 1, "qid": 4, "extra": "x"},
        {"messages": [USER, {**ASSISTANT, "reasoning": "r"}]},
        {"messages": [USER]},
        {"messages": None},
        {"prompt": "no chat"},
    )
    found, (one, two, *rest) = read(path)

    assert (found.format.name, found.reason) == ("chat", "a column 'messages' that holds lists")
    assert one.prompt == (
        Message("system", "Be short."),
        Message("user", "What is 1+1?"),
        Message("assistant", 'Let me look.\n[{"name": "f"}]'),
        Message("tool", "2[image_url]!"),
    )
    assert one.completion == "<think>\nThe tool says 2.\n</think>\n\nIt is 2."
    assert one.think.text(one.completion) == "\nThe tool says 2.\n"
    assert (one.reward, one.meta) == (
        1.0,
        {"later_turns": 1, "extra": "x", "source_group": "4"},
    )
    assert two.completion.startswith("<think>\nr\n")
    assert rest == ["messages holds no assistant turn", *["messages is missing"] * 2]


def trl_file(path, prompts, completions, rewards, extra, advantages):
    """Write a completions file by the calls of TRL 1.16's ``GRPOTrainer.log``."""
    logs = {
        "prompt": deque(prompts),
        "completion": deque(completions),
        "rewards": defaultdict(deque, {name: deque(column) for name, column in rewards.items()}),
        "extra": defaultdict(deque, {name: deque(column) for name, column in extra.items()}),
        "advantages": deque(advantages),
    }
    table = {
        "step": [25] * len(logs["prompt"]),
        "prompt": list(logs["prompt"]),
        "completion": list(logs["completion"]),
        **logs["rewards"],
        **logs["extra"],
        "advantage": logs["advantages"],
    }
    pd.DataFrame(table).to_parquet(path)
    return path


@pytest.mark.parametrize("chat", [True, False])
def test_trl_completions_keep_each_reward_and_group_by_step_and_prompt(tmp_path, chat):
    texts = ["It is 2.", "3", "The answer is 2.", "It is 2.", "4"]
    asked = ["What is 1+1?"] * 3 + ["What is 1+3?"] * 2
    path = trl_file(
        tmp_path / "completions_00025.parquet",
        [[{"role": "user", "content": item}] if chat else item for item in asked],
        [[{"role": "assistant", "content": item}] if chat else item for item in texts],
        {"accuracy": [1.0, 0.0, 1.0, 0.0, None], "short": [0.0, 0.5, 0.0, 0.0, None]},
        {"length": [8.0, 1.0, 16.0, 8.0, 1.0], "answer": ["2", "2", "2", "4", "4"]},
        [0.577, -1.155, 0.577, 0.0, float("nan")],
    )
    found, (one, two, _, three, four) = read(path)

    assert found.format.name == "trl"
    with pytest.raises(BadRecord, match="prompt or completion is missing"):
        found.reader({"prompt": "p", "completion": None, "step": 1})
    assert "approximate" in found.format.note
    assert [item.reward for item in (one, two, three, four)] == [1.0, 0.5, 0.0, None]
    assert two.rewards == {"accuracy": 0.0, "short": 0.5}
    assert (two.truth, two.meta) == ("2", {"length": 1.0, "advantage": -1.155})
    assert one.group_id == two.group_id == group_id("", one.prompt, "", 25)
    assert one.group_id != three.group_id
    assert one.id != three.id
    assert (one.step, one.tokens) == (25, None)
    assert "advantage" not in four.meta


def rewards_of(advantages, **columns):
    names = list(columns)
    rows = tuple(
        Row(
            line,
            {
                "step": 1,
                "prompt": "p",
                "completion": "c",
                **dict(zip(names, values, strict=True)),
                "advantage": advantage,
            },
            b"",
        )
        for line, (advantage, *values) in enumerate(
            zip(advantages, *columns.values(), strict=True)
        )
    )
    return reward_columns(Sample(Source("x", None, "parquet"), rows))


def test_trl_rewards_are_the_columns_that_explain_the_advantage():
    right, size = [0.0, 1.0, 0.0], [9.0, 4.0, 2.0]
    assert rewards_of([-1.0, 2.0, -1.0], right=right, size=size) == ("right",)
    assert rewards_of([1.0, 0.0, -1.0], right=[0.0, 1.0, 0.0], size=[9.0, 3.0, -1.0]) == (
        "right",
        "size",
    )
    # Opposite signs, no differences, or a difference without an advantage explain nothing.
    assert rewards_of([1.0, -2.0, 1.0], my_reward=right, size=size) == ("my_reward",)
    assert rewards_of([0.0, 0.0, 0.0], right=right, size=size) == ("right", "size")
    assert rewards_of([0.0, 0.0, 0.0], right=size, my_reward=right) == ("my_reward",)
    assert rewards_of([1.0, -1.0], right=[1.0, 0.0], size=[4.0, 2.0]) == ("right", "size")
    assert rewards_of([0.0, 0.0], right=[1.0, 1.0], note=["a", "b"], late=[1.0, 2.0]) == ("right",)
    assert rewards_of([0.0], note=["a"]) == ()


def test_verl_dumps_keep_numbers_as_rewards_and_group_by_input_and_step(tmp_path):
    entry = {
        "input": "user\nQ\nassistant\n",
        "output": "A: 4",
        "gts": "4",
        "score": 1.0,
        "step": 9,
    }
    path = write_lines(
        tmp_path / "9.jsonl",
        {**entry, "acc": True, "pred": "4", "request_id": "r1", "temperature": 1.0},
        {**entry, "output": "A: 5", "score": float("nan"), "acc": float("nan"), "pred": None},
        {**entry, "output": None},
        {**entry, "output": 5},
    )
    found, (one, two, *rest) = read(path)

    assert (found.format.name, found.reason) == ("verl", "columns input, output, score and step")
    assert one.prompt == (Message("user", "user\nQ\nassistant\n"),)
    assert (one.reward, one.rewards, one.truth, one.step) == (1.0, {"acc": 1.0}, "4", 9)
    assert one.meta == {"pred": "4", "request_id": "r1"}
    assert one.sampling.temperature == 1.0
    assert (two.reward, two.rewards) == (None, {})
    assert one.group_id == two.group_id
    assert rest == ["input or output is missing", "output must be text, is a whole number"]


def test_verifiers_results_take_group_model_and_task_from_id_and_metadata(tmp_path):
    record = {
        "example_id": 0,
        "prompt": [USER],
        "completion": [ASSISTANT, {"role": "user", "content": "sure?"}, ASSISTANT],
        "answer": "2",
        "reward": 1.0,
        "timing": {"total_ms": 5},
        "is_truncated": False,
        "metrics": {"correct_answer": 1.0, "late": None},
        "correct_answer": 1.0,
        "num_turns": 2,
    }
    path = write_lines(
        tmp_path / "results.jsonl", record, {**record, "completion": None}, {**record, "task": "t"}
    )
    metadata = {
        "env_id": "gsm8k",
        "model": "m",
        "sampling_args": {"temperature": 0.6, "max_tokens": 9},
        "avg_metrics": {"correct_answer": 0.5, "num_turns": 1.5},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    found, (one, two, three) = read(path)

    assert found.format.name == "verifiers"
    assert (one.task, one.model, one.truth, one.reward) == ("gsm8k", "m", "2", 1.0)
    assert one.rewards == {"correct_answer": 1.0, "num_turns": 2.0}
    assert one.sampling == Sampling(temperature=0.6, truncated=False)
    assert [message.content for message in one.prompt] == ["What is 1+1?", "It is 2.", "sure?"]
    assert one.meta == {"timing": {"total_ms": 5}, "source_group": "0"}
    assert two == "prompt or completion is missing"
    assert three.task == "t"


def test_older_verifiers_results_are_known_by_the_metadata_beside_them(tmp_path):
    record = {"id": 3, "prompt": "Q", "completion": "A", "task": "d", "reward": 0.0}
    path = write_lines(tmp_path / "results.jsonl", record)
    assert read(path)[0].format.name == "plain"

    (tmp_path / "metadata.json").write_text('{"env_id": "e", "sampling_args": null}')
    found, (rollout,) = read(path)
    assert found.format.name == "verifiers"
    assert (rollout.task, rollout.meta) == ("d", {"source_group": "3"})

    (tmp_path / "metadata.json").write_text("{")
    with pytest.raises(FormatError, match=r"metadata\.json: not JSON"):
        read(path)
    (tmp_path / "metadata.json").write_text("[]")
    assert read(path)[0].format.name == "plain"


def test_metadata_that_is_missing_leaves_the_model_unknown(tmp_path):
    record = {"example_id": 3, "prompt": "Q", "completion": "A", "reward": 0.0}
    found, (rollout,) = read(write_lines(tmp_path / "results.jsonl", record))
    assert (found.format.name, rollout.model) == ("verifiers", "")


def test_a_format_may_be_forced_and_an_unknown_one_names_the_known(tmp_path):
    path = write_lines(
        tmp_path / "a.jsonl", {"prompt": "Q", "completion": "A", "messages": [USER, ASSISTANT]}
    )
    assert read(path)[0].format.name == "chat"
    found, (rollout,) = read(path, forced="plain")
    assert (found.reason, rollout.completion) == ("chosen with --format", "A")
    with pytest.raises(UsageError, match="no format 'parquet'") as error:
        read(path, forced="parquet")
    assert error.value.hint == "Choose one of trl, verl, verifiers, chat, plain."


def test_unknown_columns_and_missing_mapped_ones_are_format_errors_with_the_columns(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"foo": 1, "bar": 2})
    with pytest.raises(FormatError, match="unknown format with the columns foo, bar") as error:
        read(path)
    assert "--map prompt=COLUMN" in error.value.hint
    with pytest.raises(FormatError, match="no column 'baz'") as error:
        read(path, mapping={"prompt": "baz"})
    assert error.value.hint == "Its columns are foo, bar."


def test_a_source_without_a_usable_row_has_no_format(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{\n" * 2000)
    found, rejects = read(path)
    assert found is None
    assert len(rejects) == 2000


def test_broken_lines_before_the_first_good_one_do_not_hide_the_format(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    good = json.dumps({"prompt": "Q", "completion": "A"})
    path.write_bytes(gzip.compress(f"{{\n{good}\n".encode()))
    found, results = read(path)
    assert found.format.name == "plain"
    assert [reject.line for reject in found.rejects] == [1]
    assert len(results) == 2


def test_plain_parquet_keeps_lists_and_exact_ids(tmp_path):
    path = tmp_path / "a.parquet"
    table = {"prompt": ["Q"], "response": ["A"], "response_ids": [[3, 4]], "ids_exact": [False]}
    pq.write_table(pa.table(table), path)
    _, (rollout,) = read(path)
    assert list(rollout.tokens.ids) == [3, 4]
    assert rollout.tokens.exact is False
