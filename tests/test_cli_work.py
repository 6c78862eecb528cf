"""``dca review``, ``consensus``, ``credit``, ``export``, ``train`` and ``demo``."""

import dataclasses
import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from dca.cli.credit import split_names
from dca.cli.demo import print_training
from dca.cli.run import stdout_console
from dca.cli.train import listener, metrics_line, print_report
from dca.pipeline.demo import DemoTraining, Sampled
from dca.pipeline.progress import ReviewerFigures, Silent
from tests.command_line import (
    ROWS,
    clean_folder,
    fill,
    invoke,
    plain_rollouts,
    write_rows,
)
from training.run import Prepared, TrainReport


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment that says nothing."""
    return clean_folder(tmp_path, monkeypatch)


def report(folder: Path, **changed) -> TrainReport:
    """Return what a training run reports."""
    facts = {"dropped": {"no credit": 3}, "truncated": 1, "tokens_cut": 40, **changed}
    prepared = Prepared(10, 7, loss_tokens=900, temperature=1.0, temperature_assumed=True, **facts)
    return TrainReport(folder / "model", prepared, 12, 6, 1000, 100, 3.25, {"loss": 0.123456})


def test_the_whole_job_verb_by_verb(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS[:2])
    invoke(capsys, "import", "r.jsonl", "--map", "prompt=prompt", "--model", "m")

    reviewed = invoke(capsys, "review", "--concurrency", "2")
    again = invoke(capsys, "review", "--json").document
    settled = invoke(capsys, "consensus", "--min-families", "1", "--min-reviewers", "1")
    repeated = invoke(
        capsys, "consensus", "--min-families", "1", "--min-reviewers", "1", "--json"
    ).document
    changed = invoke(capsys, "consensus", "--quorum", "1.0")
    credited = invoke(
        capsys, "credit", "--tokenizer", "utf8-bytes", "--no-veto", "--cap", "2", "--seed", "1"
    )
    exported = invoke(capsys, "export", "--out", "rows", "--tokenizer", "utf8-bytes")
    spans = invoke(capsys, "export", "--to", "spans", "--out", "spans", "--json").document

    assert reviewed.code == 0, reviewed.err
    assert "2 rollouts, panel offline: done in" in reviewed.out
    assert [row["cached"] for row in again["reviewers"]] == [2, 2, 2, 2]
    assert settled.out.startswith("Consensus 1 stored: 2 rollouts, contribution-v1\n")
    assert "alpha " in settled.out
    assert repeated["reused"] is True
    assert "version 1" in changed.out
    assert credited.code == 0, credited.err
    assert re.search(r"^deliberative +2 +\d+ ", credited.out, re.MULTILINE)
    assert "Wrote  rows/tokens.parquet  2 rows of 2 rollouts" in exported.out
    assert "note: 2 of 2 rows have no behaviour log-probabilities" in exported.err
    assert spans["rows"] > 2
    assert (folder / "rows" / "tokens.parquet.card.md").exists()


def test_credit_lists_what_a_method_lacks(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(4))

    answer = invoke(
        capsys, "credit", "--methods", "grpo,deliberative", "--tokenizer", "utf8-bytes"
    )

    assert answer.code == 0
    assert re.search(r"^deliberative .* n/a: needs consensus$", answer.out, re.MULTILINE)
    wrong = invoke(capsys, "credit", "--methods", "grpo,magic")
    assert wrong.code == 2
    assert wrong.err.startswith("dca: flag --methods: credit.methods")
    assert split_names(None) is None


def test_a_panel_that_abstains_makes_the_review_partial(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(2))
    (folder / "answers.jsonl").write_text(
        json.dumps(
            {"rollout_id": f"{0:020d}", "spans": [{"start": 0, "stop": 9, "label": "setup"}]}
        )
    )
    (folder / "dca.toml").write_text(
        "[reviewers.old]\nkind='replay'\npath='answers.jsonl'\n[panels.main]\nreviewers=['old']\n"
        "[consensus]\nmin_reviewers=1\nmin_families=1\n"
    )

    answer = invoke(capsys, "review", "--panel", "main")
    again = invoke(capsys, "review", "--panel", "main")
    settled = invoke(capsys, "consensus", "--panel", "main", "--min-reviewers", "1")

    assert answer.code == 3
    assert re.search(r"^old +1 +0 +0 +0 +0 +unavailable 1$", answer.out, re.MULTILINE)
    assert "\nold: abstained on 1: no review of this rollout was recorded\n" in answer.out
    assert "dca review --retry-failed asks again" in answer.out
    assert again.code == 3
    assert re.search(r"^old +0 +1 +0 +0 +0 +before 1$", again.out, re.MULTILINE)
    assert "\nold: abstained on 1: no review of this rollout was recorded\n" in again.out
    assert "Abstentions: old 1" in settled.out
    assert invoke(capsys, "review", "--panel", "mian").code == 2


SERVED = """\
[review]
panel = "main"
[panels.main]
reviewers = ["b", "arithmetic"]
[reviewers.b]
kind = "openai-compatible"
base_url = "{url}"
model = "tiny"
family = "b"
retries = 0
"""


def closed_port() -> str:
    """Return the address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def test_a_dead_server_is_asked_five_times_and_the_other_reviewers_go_on(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(30))
    url = closed_port()
    (folder / "dca.toml").write_text(SERVED.format(url=url))

    answer = invoke(capsys, "review", "--concurrency", "1")
    document = invoke(capsys, "review", "--concurrency", "1", "--json").document

    assert answer.code == 3
    fault = f"no connection: Connection refused (base_url {url})"
    assert f"\nb: stopped after 5 failures in a row: {fault}\n" in answer.out
    assert f"\nb: abstained on 5: {fault}\n" in answer.out
    assert re.search(r"^b +0 +0 +25 +0 +0 +unavailable 5$", answer.out, re.MULTILINE)
    assert re.search(r"^arithmetic +30 +0 +0 +0 +0 +-$", answer.out, re.MULTILINE)
    dead, rules = document["reviewers"]
    assert (dead["asked"], dead["pending"], dead["cached_abstentions"]) == (5, 20, 5)
    assert dead["reasons"] == {f"b: {fault}": 10}
    assert (rules["asked"], rules["cached"], rules["stopped"]) == (0, 30, "")


def test_a_consensus_of_abstentions_alone_says_why(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(2))
    text = SERVED.format(url=closed_port()).replace(', "arithmetic"', ', "c"')
    (folder / "dca.toml").write_text(
        text + text[text.index("[reviewers.b]") :].replace(".b]", ".c]")
    )
    (folder / "dca.toml").write_text(
        (folder / "dca.toml").read_text() + "[consensus]\nmin_families = 1\n"
    )

    empty = invoke(capsys, "consensus")
    reviewed = invoke(capsys, "review")
    settled = invoke(capsys, "consensus")

    assert "run dca review first" in empty.err
    assert reviewed.code == 3
    fault = "b: no connection: Connection refused"
    assert f"every review of this panel is an abstention; 2 of them: {fault}" in settled.err
    assert "dca review --retry-failed asks again" in settled.err


@pytest.mark.parametrize("panel", ["openai", "anthropic"])
def test_a_panel_that_can_never_agree_may_review_but_not_vote(capsys, folder, monkeypatch, panel):
    # Without keys nothing is ever sent, not even with the settings that are accepted.
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    fill(folder / "dca.db", plain_rollouts(2))
    invoke(capsys, "init", "--panel", panel)
    file = folder / "dca.toml"

    made = [invoke(capsys, verb) for verb in ("review", "consensus")]
    file.write_text(file.read_text().replace("\nmin_families = 1 ", "\nmin_families = 2 "))
    alike = [invoke(capsys, verb) for verb in ("review", "consensus")]
    file.write_text(file.read_text().replace("# min_reviewers = 2", "min_reviewers = 3"))
    few = [invoke(capsys, verb) for verb in ("review", "consensus")]

    assert "warning: " not in made[0].err
    assert "run dca review first" in made[1].err
    for review, _ in (made, alike, few):
        assert "_API_KEY is not set" in review.err
        assert review.code == 7
    assert alike[1].code == few[1].code == 2
    for answer in alike:
        assert f"the panel's families are 1 ({panel})" in answer.err
        assert "set [consensus] min_families = 1" in answer.err
    for answer in few:
        assert "the panel's reviewers are 2: it could never agree on anything" in answer.err
        assert "set [consensus] min_reviewers = 2" in answer.err


def test_one_reviewer_reviews_and_is_told_that_it_agrees_with_nobody(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(2))
    (folder / "dca.toml").write_text("[panels.solo]\nreviewers = ['arithmetic']\n")

    alone = invoke(capsys, "review", "--panel", "solo")
    refused = invoke(capsys, "consensus", "--panel", "solo")

    assert alone.code == 0
    assert re.search(r"^arithmetic +2 +0 +0 ", alone.out, re.MULTILINE)
    told = "consensus.min_reviewers is 2, but the panel's reviewers are 1: one reviewer can agree"
    assert alone.err.startswith(f"warning: {told} with nobody; name more reviewers in the panel")
    assert refused.code == 2
    assert f"{told} with nobody" in refused.err


def test_mostly_thin_text_is_explained(capsys, folder):
    fill(folder / "dca.db", plain_rollouts(4))
    invoke(capsys, "review")

    thin = invoke(capsys, "consensus", "--min-reviewers", "4", "--min-families", "4")

    assert "thin: fewer than 4 reviewers (min_reviewers) or 4 families" in thin.out


def test_demo_runs_on_a_file_of_the_user(capsys, folder):
    write_rows(folder / "mine.jsonl", [*ROWS[:2], {"prompt": "x", "completion": ""}])

    answer = invoke(capsys, "demo", "mine.jsonl", "--out", "here")

    assert answer.code == 3, answer.err
    assert answer.err.startswith(
        "The panel is four rules that read the text, not language models."
    )
    assert "Imported   2 new, 0 unchanged, 1 rejected rollouts" in answer.out
    assert re.search(r"Next  dca ls --store here/mine-[0-9a-f]{8}\.db\n", answer.out)
    assert "not language models" in answer.out
    document = invoke(capsys, "demo", "mine.jsonl", "--out", "here", "--json").document
    assert document["imported"]["unchanged"] == 2
    assert document["training"] is None


def test_a_training_run_says_what_it_trained_on(capsys, folder):
    print_report(stdout_console(), report(folder))

    assert capsys.readouterr().out.splitlines() == [
        "Trained 12 steps on 7 of 10 rows, 900 tokens in the loss, 3.2 s",
        "Weights 100 of 1,000 trained",
        "Left out: no credit 3",
        "Cut to --max-length: 1 rows, 40 tokens lost",
        "The rows name no temperature: 1 was taken",
        "Went on from step 6",
        "Last: loss 0.1235",
        "Wrote  model",
    ]


def test_rows_of_another_model_are_warned_of_as_soon_as_they_show(capsys, folder):
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    listener(Notes())({"step": 1.0, "ratio_mean": 3.0, "kl_behaviour": 1.9})
    warned = dataclasses.replace(report(folder), warnings=("wrong rows",))
    print_report(stdout_console(), warned)

    assert len(notes) == 2
    assert notes[1].startswith("warning: the rows were not sampled by this model")
    assert "Warning: wrong rows\n" in capsys.readouterr().out


def test_metrics_move_the_progress_to_their_step(capsys):
    class Steps:
        done = 0
        notes: list[str] = []  # noqa: RUF012 - one instance

        def advance(self, n: int = 1, **_: int) -> None:
            self.done += n

        def note(self, text: str) -> None:
            self.notes.append(text)

        def start(self, total: int | None, name: str) -> None: ...

        def show(self, reviewers: Sequence[ReviewerFigures]) -> None: ...

        def finish(self) -> None: ...

    steps = Steps()
    follow = listener(steps)
    follow({"step": 2.0, "loss": 1.0})
    follow({"step": 5.0, "loss": 0.25})

    assert steps.done == 5
    assert steps.notes == ["step 2 · loss 1", "step 5 · loss 0.25"]
    assert metrics_line({}) == ""


@pytest.mark.slow  # loads torch
def test_train_leaves_a_model(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS[:2])
    trained = invoke(capsys, "demo", "r.jsonl", "--out", "o", "--train", "--steps", "2", "-q")
    again = invoke(
        capsys,
        *("train", "o/tokens.parquet", "--model", "o/tiny", "--out", "m", "--objective", "sft"),
        *("--steps", "2", "--no-gradient-checkpointing", "--json"),
    )

    assert trained.code == 0, trained.err
    assert "weights, 2 steps: loss " in trained.out
    assert again.document["steps"] == 2
    assert (folder / "m" / "config.json").exists()
    assert "train: 2/2" in again.err


def test_train_refuses_what_cannot_be_trained_on(capsys, folder):
    missing = invoke(
        capsys, "train", "rows.parquet", "--model", "m", "--out", "o", "--epochs", "0"
    )

    assert missing.code == 2
    assert missing.err.startswith("dca: epochs is 0")
    assert invoke(capsys, "train", "--model", "m", "--out", "o").code == 2
    nowhere = invoke(capsys, "train", "rows.parquet", "--model", "m", "--out", "o")
    assert nowhere.code == 2
    assert "rows.parquet: no such file" in nowhere.err
    assert not (folder / "o").exists()


def test_the_training_of_the_demo_shows_losses_and_samples(capsys, folder):
    training = DemoTraining(report(folder), 3.0, 1.5, (Sampled("2 + 2?", "\x1b[31m4"),))

    print_training(stdout_console(), training)

    shown = capsys.readouterr().out
    assert "loss 3.000 -> 1.500" in shown
    assert "    -> \\x1b[31m4\n" in shown


def test_a_training_run_without_anything_to_remark_is_three_lines(capsys, folder):
    prepared = Prepared(7, 7, {}, 0, 0, loss_tokens=9, temperature=1.0, temperature_assumed=False)
    print_report(
        stdout_console(), TrainReport(folder / "model", prepared, 1, None, 10, 10, 0.5, {})
    )

    assert capsys.readouterr().out.splitlines() == [
        "Trained 1 steps on 7 of 7 rows, 9 tokens in the loss, 0.5 s",
        "Weights 10 of 10 trained",
        "Wrote  model",
    ]


def test_an_export_says_what_it_left_out(capsys, folder):
    write_rows(folder / "r.jsonl", ROWS)
    invoke(capsys, "import", "r.jsonl")
    invoke(capsys, "credit", "--methods", "grpo", "--tokenizer", "utf8-bytes")

    answer = invoke(
        capsys, *("export", "--method", "grpo", "--out", "o", "--tokenizer", "utf8-bytes")
    )

    assert answer.code == 0
    assert "2 rows of 3 rollouts" in answer.out
    assert "left out: " in answer.out
