"""Reviews by real servers with a tiny model: its labels are noise, everything around them is not.

vLLM holds every reply to the schema, over OpenAI's and over Anthropic's endpoint; `transformers
serve` accepts the schema and ignores it.
"""

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from dca.cli.run import PARTIAL
from dca.config import load
from dca.domain.errors import ReplyTruncated, ReviewError
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Abstention, AbstentionKind, Review
from dca.domain.rollout import Message, Rollout
from dca.pipeline.panels import build_panel
from reviewers.schema import CONFIDENCES, Outcome, ReplyForm, ReplyProtocol, reply_schema
from store.engine import open_store, transaction
from store.reviews import abstentions_of, list_reviewers, reviews_of
from store.rollouts import iter_rollouts
from store.selection import Selection
from tests.command_line import clean_folder, invoke
from tests.local_servers import ROOT, Server

pytestmark = pytest.mark.servers

COUNT = 85
"""Bundled rollouts."""
OPENAI, ANTHROPIC = "openai-compatible", "anthropic"
ROLLOUT = Rollout(
    "r1", "g1", "sum", (Message("user", "What is 2 + 3?"),), "2 + 3 = 6. So the answer is 6.", 0.0
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working directory, and an environment with a key that is none."""
    monkeypatch.setenv("LOCAL_KEY", "sk-local-0123456789")
    return clean_folder(tmp_path, monkeypatch)


def reviewer_table(name: str, kind: str, server: Server, **more: object) -> str:
    """Return a reviewer's table of dca.toml."""
    address = server.root if kind == ANTHROPIC else server.openai
    keys: dict[str, object] = {"kind": kind, "base_url": address, "model": server.model}
    keys |= {"family": name, "api_key_env": "LOCAL_KEY", "max_output_tokens": 1024, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([f"[reviewers.{name}]", *lines, ""])


def configure(*tables: str) -> None:
    """Write a dca.toml whose panel is everybody described in ``tables``."""
    names = [table.partition("]")[0].removeprefix("[reviewers.") for table in tables]
    votes = f"[consensus]\nmin_reviewers = {len(names)}\nmin_families = {len(names)}\n"
    head = f'[review]\npanel = "main"\n{votes}[panels.main]\nreviewers = {json.dumps(names)}\n'
    Path("dca.toml").write_text("\n".join([head, *tables]), "utf-8")


def import_demo(capsys) -> None:
    """Bring the bundled rollouts into the store."""
    with as_file(files("dca.demo") / "rollouts.jsonl") as bundled:
        shutil.copyfile(bundled, "rollouts.jsonl")
    assert invoke(capsys, "import", "rollouts.jsonl").code == 0


def review(capsys, *arguments: str) -> dict:
    """Run ``dca review`` and return its document."""
    answer = invoke(capsys, "review", *arguments, "--json", "-q")
    assert answer.code in {0, PARTIAL}, answer.err + answer.out
    return answer.document


def ask(rollout: Rollout) -> Review:
    """Put one question to the only reviewer of dca.toml."""
    (reviewer,) = build_panel(load(environment={}).config, "main")

    async def once() -> Review:
        async with reviewer:
            return await reviewer.review(rollout)

    return asyncio.run(once())


def stored() -> tuple[dict[str, Rollout], dict[str, list[Review | Abstention]]]:
    """Return the rollouts by id, and the answers by the name of the reviewer."""
    engine = open_store("dca.db")
    answers: dict[str, list[Review | Abstention]] = {}
    with transaction(engine) as session:
        pages = iter_rollouts(session, Selection())
        rollouts = {rollout.id: rollout for page in pages for rollout in page}
        names = {info.digest: info.name for info in list_reviewers(session)}
        for read in (reviews_of, abstentions_of):
            for given in read(session, [*rollouts], label_set=CONTRIBUTION_V1.name).values():
                for answer in given:
                    answers.setdefault(names[answer.key.reviewer], []).append(answer)
    engine.dispose()
    return rollouts, answers


def test_the_bundled_rollouts_are_reviewed_over_both_dialects_and_settled(capsys, vllm_server):
    configure(
        reviewer_table("a", OPENAI, vllm_server),
        reviewer_table("b", ANTHROPIC, vllm_server),
    )
    import_demo(capsys)

    reviewed = review(capsys, "--concurrency", "16")
    again = review(capsys)
    settled = invoke(capsys, "consensus", "--json", "-q")
    rollouts, answers = stored()

    assert len(rollouts) == COUNT
    assert {name: len(given) for name, given in answers.items()} == {"a": COUNT, "b": COUNT}
    for row, repeated in zip(reviewed["reviewers"], again["reviewers"], strict=True):
        given = answers[row["name"]]
        reviews = [answer for answer in given if isinstance(answer, Review)]
        # A random model names units that do not exist and steps it does not have.
        assert 15 < len(reviews) < COUNT
        assert row["reviews"] == repeated["cached"] == len(reviews)
        assert row["abstentions"] == {"invalid": COUNT - len(reviews)}
        assert repeated["asked"] == row["pending"] == 0
        assert row["input_tokens"] == sum(answer.usage.input_tokens or 0 for answer in given)
        assert row["output_tokens"] == sum(answer.usage.output_tokens or 0 for answer in given)
        for answer in given:
            check(answer, rollouts[answer.key.rollout_id])
    assert settled.code == 0, settled.err
    assert settled.document["version"]["rollouts"] == COUNT
    assert settled.document["abstentions"] == {
        row["name"]: COUNT - row["reviews"] for row in reviewed["reviewers"]
    }


def last_reply(answer: Review | Abstention) -> dict:
    """Return the last of the replies: what cannot be used is asked for once more."""
    return json.loads(answer.raw.rpartition("\n")[2])


def check(answer: Review | Abstention, rollout: Rollout) -> None:
    """Check what holds for every reply that vLLM held to the schema, however random it is."""
    reply = last_reply(answer)
    verdict = "soundness" if rollout.reward == 1.0 else "blame"
    assert [*reply] == ["steps", "links", "covered_first", "covered_last", "finding", verdict]
    assert answer.usage.input_tokens is not None
    assert answer.usage.input_tokens > 1_500
    assert answer.usage.output_tokens is not None
    assert answer.usage.output_tokens > 30
    if isinstance(answer, Review):
        assert answer.steps
        assert all(0 <= step.span.start < step.span.stop for step in answer.steps)
        assert all(step.span.stop <= len(rollout.completion) for step in answer.steps)
        assert all(step.label in CONTRIBUTION_V1.keys for step in answer.steps)
        assert all(step.confidence in CONFIDENCES for step in answer.steps)


@pytest.mark.parametrize("kind", [OPENAI, ANTHROPIC])
def test_quotes_that_a_model_made_up_are_no_votes(capsys, vllm_server, kind):
    configure(reviewer_table("a", kind, vllm_server, protocol="quotes"))
    import_demo(capsys)

    row = review(capsys, "--limit", "12")["reviewers"][0]
    _, answers = stored()

    assert row["reviews"] + sum(row["abstentions"].values()) == len(answers["a"]) == 12
    assert {*row["abstentions"]} <= {"invalid"}
    for answer in answers["a"]:
        assert isinstance(last_reply(answer)["covered"], bool)
        assert answer.usage.output_tokens


@pytest.mark.parametrize("kind", [OPENAI, ANTHROPIC])
def test_a_reply_cut_at_the_limit_is_an_abstention_that_keeps_its_cost(vllm_server, kind):
    configure(reviewer_table("a", kind, vllm_server, max_output_tokens=20))

    with pytest.raises(ReplyTruncated) as caught:
        ask(ROLLOUT)

    assert caught.value.usage.output_tokens == 20
    assert caught.value.usage.input_tokens > 1_500
    assert caught.value.raw.startswith('{"steps":')


@pytest.mark.parametrize("kind", [OPENAI, ANTHROPIC])
def test_a_model_that_the_server_does_not_have_is_named(vllm_server, kind):
    configure(reviewer_table("a", kind, Server(vllm_server.root, "other")))

    with pytest.raises(ReviewError, match=r"404.*`other` does not exist"):
        ask(ROLLOUT)


@pytest.mark.parametrize("kind", [OPENAI, ANTHROPIC])
def test_a_question_longer_than_the_context_is_refused_with_both_lengths(vllm_server, kind):
    configure(reviewer_table("a", kind, vllm_server))
    long = Rollout("r2", "g1", "sum", ROLLOUT.prompt, "Then 7 + 8 = 15. " * 4_000, 0.0)

    with pytest.raises(ReviewError, match=r"400.*maximum context length is 16384 tokens"):
        ask(long)


def test_what_a_provider_that_ignores_the_schema_says_is_never_a_vote(capsys, transformers_server):
    configure(
        reviewer_table("a", OPENAI, transformers_server, max_output_tokens=48, timeout=120.0)
    )
    import_demo(capsys)

    row = review(capsys, "--limit", "6", "--concurrency", "1")["reviewers"][0]
    _, answers = stored()
    kinds = Counter(answer.kind for answer in answers["a"] if isinstance(answer, Abstention))

    assert row["reviews"] == 0
    assert sum(kinds.values()) == len(answers["a"]) == 6
    assert {*kinds} <= {AbstentionKind.INVALID, AbstentionKind.TRUNCATED}
    for answer in answers["a"]:
        assert answer.usage.input_tokens > 1_500
        assert answer.usage.output_tokens is not None


def test_every_schema_can_be_compiled_by_the_grammar_engines_of_vllm():
    forms = [
        ReplyForm(protocol, outcome, CONTRIBUTION_V1)
        for protocol in ReplyProtocol
        for outcome in Outcome
    ]
    schemas = [reply_schema(form, bounded=bounded) for form in forms for bounded in (True, False)]

    subprocess.run(["make", "--silent", "vllm"], cwd=ROOT, check=True)
    done = subprocess.run(
        [ROOT / ".venv-vllm/bin/python", ROOT / "tests/grammar_engines.py"],
        input=json.dumps(schemas),
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == []
