"""Reviews by a tiny model that vLLM runs in this process: noise, held to the schema."""

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from dca.cli.run import PARTIAL
from dca.config import load
from dca.domain.errors import ConfigError, MissingExtra
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Abstention, AbstentionKind, Review
from dca.pipeline.panels import build_panel
from reviewers.local_reviewer import LocalReviewer
from reviewers.schema import CONFIDENCES
from reviewers.vllm_inprocess import vllm_reviewer
from store.engine import open_store, transaction
from store.reviews import abstentions_of, list_reviewers, reviews_of
from store.rollouts import iter_rollouts
from store.selection import Selection
from tests.command_line import clean_folder, fill, invoke, plain_rollouts
from tests.local_servers import ROOT

COUNT = 12
"""Bundled rollouts that are reviewed, beside one that no model can take."""
TABLES = """
[review]
panel = "both"
concurrency = 64

[panels.both]
reviewers = ["full", "cheap"]

[reviewers.full]
kind = "vllm"
model = "./model"
family = "one"
max_output_tokens = 1024
temperature = 1.0
seed = 7
engine = { dtype = "float32", max_model_len = 16384, max_num_seqs = 64, enforce_eager = true, \
enable_chunked_prefill = false, max_num_batched_tokens = 16384, \
kv_cache_memory_bytes = 134217728 }

[reviewers.cheap]
kind = "vllm"
model = "./model"
family = "two"
style = "cheap"
max_output_tokens = 1024
engine = { dtype = "float32", max_model_len = 16384, max_num_seqs = 64, enforce_eager = true, \
enable_chunked_prefill = false, max_num_batched_tokens = 16384, \
kv_cache_memory_bytes = 134217728 }
"""
ON_A_CPU = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "dca.toml").write_text(TABLES)
    return clean_folder(tmp_path, monkeypatch)


def write_rollouts(file: Path) -> None:
    """Write some bundled rollouts, and one that is longer than the model's context."""
    bundled = (files("dca.demo") / "rollouts.jsonl").read_text("utf-8").splitlines()[:COUNT]
    long = json.loads(bundled[0]) | {"id": "long", "completion": "Then 7 + 8 = 15. " * 8_000}
    file.write_text("\n".join([*bundled, json.dumps(long), ""]), "utf-8")


def in_vllm(*lines: str) -> list[dict]:
    """Run command lines in one process of the environment that has vLLM."""
    subprocess.run(["make", "--silent", "vllm"], cwd=ROOT, check=True)
    # Coverage measures the environment that it is installed in. Without bytecode every start
    # compiles half a gigabyte of Python.
    left_out = ("COVERAGE_", "PYTHONDONTWRITEBYTECODE")
    kept = {key: text for key, text in os.environ.items() if not key.startswith(left_out)}
    name = "deliberative-credit-assignment"
    installed = Path(f"installed/{name.replace('-', '_')}-0.dist-info").resolve()
    installed.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version(name)}\n"
    (installed / "METADATA").write_text(metadata)
    kept["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(installed.parent)])
    done = subprocess.run(
        [ROOT / ".venv-vllm/bin/python", "-W", "ignore", ROOT / "tests/vllm_reviews.py"],
        input="\n".join(lines),
        env=kept | ON_A_CPU,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def stored() -> dict[str, dict[str, Review | Abstention]]:
    """Return the answers by the name of the reviewer and the rollout's own id."""
    engine = open_store("dca.db")
    answers: dict[str, dict[str, Review | Abstention]] = {}
    with transaction(engine) as session:
        pages = iter_rollouts(session, Selection())
        lengths = {rollout.id: len(rollout.completion) for page in pages for rollout in page}
        names = {info.digest: info.name for info in list_reviewers(session)}
        for read in (reviews_of, abstentions_of):
            for given in read(session, [*lengths], label_set=CONTRIBUTION_V1.name).values():
                for answer in given:
                    key = answer.key.rollout_id
                    place = "long" if lengths[key] > 100_000 else key
                    answers.setdefault(names[answer.key.reviewer], {})[place] = answer
    engine.dispose()
    return answers


@pytest.mark.servers
def test_two_reviewers_of_one_model_review_and_a_rollout_that_is_too_long_abstains_alone(folder):
    subprocess.run(
        [sys.executable, "-m", "tests.tiny_qwen", folder / "model"], cwd=ROOT, check=True
    )
    write_rollouts(folder / "rollouts.jsonl")

    lines = (
        "import rollouts.jsonl",
        "review --json -q",
        "review --json -q",
        "consensus --json -q",
    )
    imported, reviewed, again, settled, talk = in_vllm(*lines)

    assert imported["code"] == 0, imported["err"]
    assert reviewed["code"] == again["code"] == PARTIAL, reviewed["err"]
    assert settled["code"] == 0, settled["err"]
    answers = stored()
    document = json.loads(reviewed["out"])
    repeated = json.loads(again["out"])
    assert {name: len(given) for name, given in answers.items()} == {
        "full": COUNT + 1,
        "cheap": COUNT + 1,
    }
    for row, later in zip(document["reviewers"], repeated["reviewers"], strict=True):
        given = answers[row["name"]]
        check_too_long(given.pop("long"))
        reviews = [answer for answer in given.values() if isinstance(answer, Review)]
        assert COUNT / 4 < row["reviews"] == later["cached"] == len(reviews)
        assert row["pending"] == later["asked"] == 0
        assert row["abstentions"].get("unavailable") == 1
        assert row["abstentions"].get("truncated") is None
        assert row["abstentions"].get("invalid", 0) == COUNT - len(reviews)
        assert row["input_tokens"] == sum(item.usage.input_tokens for item in given.values())
        assert row["output_tokens"] == sum(item.usage.output_tokens for item in given.values())
        assert row["cached_tokens"] > 0  # The instructions, from vLLM's prefix cache.
        assert row["dollars"] is None
        for answer in given.values():
            check_reply(answer, terse=row["name"] == "cheap")
    assert json.loads(settled["out"])["version"]["rollouts"] == COUNT + 1
    # One seed, one text; beside it in the batch stood a question that was given up.
    assert len({*talk["texts"]}) == 1
    assert {*talk["ends"]} == {"complete"}
    assert talk["cached"] > 1_000
    assert talk["rounds"] > 10  # The event loop went on meanwhile.


def check_too_long(answer: Review | Abstention) -> None:
    assert isinstance(answer, Abstention)
    assert answer.kind is AbstentionKind.UNAVAILABLE
    assert "maximum context length is 16384 tokens" in answer.reason
    assert answer.usage.input_tokens is None


def check_reply(answer: Review | Abstention, *, terse: bool) -> None:
    """Check what holds for every reply that is held to the schema, however random it is."""
    reply = json.loads(answer.raw.rpartition("\n")[2])
    assert [*reply][:2] == ["steps", "links"]
    assert all(("reason" in step) is not terse for step in reply["steps"])
    assert answer.usage.seconds is not None
    assert answer.usage.dollars is None
    if isinstance(answer, Review):
        assert all(step.label in CONTRIBUTION_V1.keys for step in answer.steps)
        assert all(step.confidence in {None, *CONFIDENCES} for step in answer.steps)


def test_the_configuration_describes_one_model_and_two_reviewers(folder):
    full, cheap = build_panel(load(environment={}).config, "both")

    assert isinstance(full, LocalReviewer)
    assert isinstance(cheap, LocalReviewer)
    assert (full.info.kind, full.info.model) == ("vllm", str(folder / "model"))
    assert full.info.family == "one"
    assert full.info.settings["grammar"] == "guidance"
    assert full.info.settings["extra"] == {"seed": 7}
    assert full.info.settings["engine"] == {"dtype": "float32", "max_model_len": 16384}
    assert cheap.calling.extra == {}


def test_what_is_about_speed_makes_no_other_reviewer():
    def digest(**more) -> str:
        return vllm_reviewer("a", "org/model", **more).info.digest

    base = digest(engine={"dtype": "float16"})
    assert base == digest(engine={"dtype": "float16", "tensor_parallel_size": 4})
    assert base != digest(engine={"dtype": "bfloat16"})
    assert base != digest(engine={"dtype": "float16"}, grammar="xgrammar")
    assert vllm_reviewer("a", "org/model").info.family == "org/model"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engine = { dtpye = 'auto' }", "unknown key reviewers.a.engine.dtpye"),
        ("engine = { tensor_parallel_size = 0 }", "engine.tensor_parallel_size = 0"),
        ("engine = { gpu_memory_utilization = 1.5 }", "engine.gpu_memory_utilization = 1.5"),
        ("grammar = 'outlines'", "reviewers.a.grammar = 'outlines'"),
        ("timeout = 3.0", "unknown key reviewers.a.timeout"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, monkeypatch, text, message):
    clean_folder(tmp_path, monkeypatch)
    Path("dca.toml").write_text(f"[reviewers.a]\nkind='vllm'\nmodel='m'\nfamily='f'\n{text}\n")

    with pytest.raises(ConfigError) as caught:
        load(environment={})

    assert message in str(caught.value)


def test_further_arguments_go_to_vllm_as_they_are(tmp_path, monkeypatch):
    clean_folder(tmp_path, monkeypatch)
    Path("dca.toml").write_text(
        "[reviewers.a]\nkind='vllm'\nmodel='org/m'\nfamily='f'\n"
        "engine = { more = { hf_overrides = { rope_theta = 5.0 } } }\n"
        "[panels.p]\nreviewers=['a']\n"
    )

    (built,) = build_panel(load(environment={}).config, "p")

    assert built.info.model == "org/m"
    assert built.info.settings["engine"] == {"hf_overrides": {"rope_theta": 5.0}}


def test_without_vllm_the_review_ends_and_says_what_to_install(folder, capsys):
    fill(folder / "dca.db", plain_rollouts(2))

    answer = invoke(capsys, "review", "-q")

    assert answer.code == 2
    assert "vllm is not installed" in answer.err
    assert "pip install '.[vllm]'" in answer.err


def test_the_extra_is_missing_only_when_the_model_is_asked():
    asked = vllm_reviewer("a", "org/model")

    with pytest.raises(MissingExtra):
        asyncio.run(asked.review(plain_rollouts(1)[0]))
