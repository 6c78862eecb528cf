"""What cannot be trained on is refused, as early as it can be seen."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dca.domain.errors import FormatError, MissingExtra, RowError, TrainingError, UsageError
from dca.domain.rollout import Sampling
from tests.test_training_runs import configured
from tests.tiny_rows import sampled_rows, tiny_model
from training.row_files import write_rows
from training.rows import NeutralRow
from training.run import TrainConfig, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def rows(folder) -> list[NeutralRow]:
    return sampled_rows(folder)


@pytest.fixture
def config(folder, rows, tmp_path) -> TrainConfig:
    return configured(folder, rows, tmp_path)


def test_rows_and_models_that_are_none_are_refused(config, folder, tmp_path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text("{}")

    for rows, message in ((tmp_path / "no.parquet", "no such file"), (tmp_path, "a folder, not")):
        with pytest.raises(FormatError, match=message) as caught:
            train(dataclasses.replace(config, rows=(rows,)))
        assert caught.value.hint
    with pytest.raises(TrainingError, match="no model"):
        train(dataclasses.replace(config, model=tmp_path))
    with pytest.raises(UsageError, match=r"no tokenizer\.json"):
        train(dataclasses.replace(config, model=bare))
    assert not config.output.exists()


def test_what_can_be_seen_at_once_is_refused_without_torch(folder, rows, tmp_path) -> None:
    file = tmp_path / "rows.parquet"
    write_rows(file, [changed(rows[0], sha="other")])
    code = (
        "import sys\nfrom pathlib import Path\nfrom dca.domain.errors import DcaError\n"
        "from training.run import TrainConfig, train\n"
        "rows, model = map(Path, sys.argv[1:])\n"
        "for given in (rows, Path('no.parquet')):\n"
        "    try:\n        train(TrainConfig(rows=(given,), model=model, output=Path('out')))\n"
        "    except DcaError as error:\n        print(type(error).__name__)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), str(folder)], capture_output=True, check=True
    )

    assert done.stdout.decode().split() == ["RowError", "FormatError", "False"]


def test_another_tokenizer_is_refused_with_the_way_to_mend_it(folder, rows, tmp_path) -> None:
    config = configured(folder, [changed(rows[0], sha="other")], tmp_path)

    with pytest.raises(RowError, match="its ids are of tokenizer tiny") as caught:
        train(config)

    assert f"dca credit --tokenizer {folder}, then dca export --tokenizer {folder}" in str(
        caught.value.hint
    )


def test_a_prompt_that_fills_the_limit_leaves_nothing_to_train_on(folder, rows, tmp_path) -> None:
    with pytest.raises(TrainingError, match=r"none of 8 rows .* \(prompt fills max_length: 8\)"):
        train(configured(folder, rows, tmp_path, max_length=2))


def test_empty_files_leave_nothing_to_train_on(folder, tmp_path) -> None:
    with pytest.raises(TrainingError, match="the files are empty"):
        train(configured(folder, [], tmp_path))


def changed(row: NeutralRow, **changes: object) -> NeutralRow:
    provenance = dataclasses.replace(row.provenance, tokenizer_sha=str(changes.pop("sha", "")))
    return dataclasses.replace(row, provenance=provenance, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha": "other"}, r"row 1 \(rollout r0\): its ids are of tokenizer tiny \(other\)"),
        ({"prompt_ids": np.array([], np.int32)}, "prompt_ids: the prompt's tokens are not known"),
        ({"prompt_ids": np.array([999], np.int32)}, "token id 999 is beyond the model's"),
        ({"sampling": Sampling(temperature=0.5)}, "row 1 .*sampled at another temperature"),
        ({"sampling": Sampling(top_p=0.9)}, "top_p, top_k or min_p cut candidates"),
    ],
)
def test_rows_that_do_not_fit_the_model_or_each_other_are_refused(
    folder, rows, tmp_path, change, message
) -> None:
    config = configured(folder, [changed(rows[0], **change)], tmp_path)
    second = tmp_path / "more.jsonl"
    write_rows(second, rows[1:])
    config = dataclasses.replace(config, rows=(second, *config.rows))

    with pytest.raises(RowError, match=message):
        train(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": ()}, "no rows to train on"),
        ({"epochs": 0}, "epochs is 0, it must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"batch": 0}, "batch is 0, it must be at least 1"),
        ({"lora_rank": 0}, "lora_rank is 0"),
        ({"eps_low": 1.0}, r"eps_low is 1\.0, it must be below 1"),
        ({"dual_clip": 1.0}, r"dual_clip is 1\.0, it must be above 1"),
        ({"temperature": 0.0}, r"temperature is 0\.0, it must be positive"),
        ({"warmup": -1}, "must not be negative"),
    ],
)
def test_settings_outside_their_range_are_refused(config, change, message) -> None:
    with pytest.raises(TrainingError, match=message):
        dataclasses.replace(config, **change)


def test_a_package_that_is_not_installed_is_named(config, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "training.fit")
    monkeypatch.setitem(sys.modules, "trl", None)  # as Python marks a package as missing

    with pytest.raises(MissingExtra, match="training needs the package trl") as caught:
        train(config)
    assert "[train]" in str(caught.value.hint)


def test_settings_and_rows_are_read_without_torch() -> None:
    code = (
        "import sys, training.run, training.prepare, training.row_files, training.vocabulary\n"
        "print([m for m in ('torch', 'transformers', 'trl', 'datasets') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert output.stdout.strip() == b"[]"
