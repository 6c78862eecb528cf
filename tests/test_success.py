"""What a success is: one function, one setting, and everything that goes by it."""

import asyncio
from pathlib import Path

import pytest

from dca import cli
from dca.api import open_project
from dca.config import Config
from dca.config.models import Panel, Project
from dca.config.reviewers import CompatibleReviewer, OpenAIReviewer, ReplayReviewer
from dca.domain.errors import NothingSelected
from dca.domain.review import Blame, Review, Soundness
from dca.domain.rollout import SUCCESS_AT, succeeded
from dca.pipeline.panels import build_panel
from reviewers.model_reviewer import ModelReviewer
from reviewers.question import Asking, pose
from reviewers.rules import RULES
from reviewers.rules.dataflow import read_dataflow
from reviewers.schema import Outcome
from tests.apple_sums import LUCKY, PROMPT, RIGHT, WRONG, rollout
from tests.command_line import clean_folder, invoke, write_rows
from tests.config_files import read, refusal

MODELS = {
    "aware": OpenAIReviewer(model="m"),
    "blind": CompatibleReviewer(model="m", base_url="http://x/v1", family="f", outcome="blind"),
}


@pytest.mark.parametrize(
    ("reward", "at", "expected"),
    [
        (0.5, 0.5, True),
        (0.49, 0.5, False),
        (1.0, 0.5, True),
        (0.5, 0.8, False),
        (-1.0, -1.0, True),
        (None, 0.5, None),
        (None, -1.0, None),
    ],
)
def test_a_success_has_at_least_the_smallest_reward_of_one(reward, at, expected) -> None:
    assert succeeded(reward, at) is expected
    assert SUCCESS_AT == 0.5
    assert succeeded(reward) is succeeded(reward, 0.5)


def test_the_setting_comes_from_the_file_or_the_environment(tmp_path: Path) -> None:
    assert read("", tmp_path).config.project.success_at == 0.5
    assert read("[project]\nsuccess_at = 1\n", tmp_path).config.project.success_at == 1.0
    loaded = read("", tmp_path, {"DCA_SUCCESS_AT": "0.8"})
    assert loaded.config.project.success_at == 0.8
    origins = {item.key: item.origin for item in loaded.settings()}
    assert origins["project.success_at"] == "environment DCA_SUCCESS_AT"
    (fault,) = refusal("[project]\nsuccess_at = nan\n", tmp_path)
    assert fault.endswith("dca.toml:2: project.success_at = nan: should be a finite number")
    (fault,) = refusal("[reviewers.a]\nkind = 'openai'\nmodel = 'm'\nsuccess_at = 0.8\n", tmp_path)
    assert "unknown key" in fault


def panel_at(at: float):
    """Every kind of reviewer that is asked or reads, from one configuration."""
    built_in = Config()
    names = (*RULES, *MODELS)
    return build_panel(
        Config(
            project=Project(success_at=at),
            reviewers={**built_in.reviewers, **MODELS},
            panels={"all": Panel(reviewers=names)},
        ),
        "all",
    )


def test_the_projects_setting_reaches_every_reviewer_and_is_part_of_who_it_is() -> None:
    usual, strict = panel_at(0.5), panel_at(0.8)
    digests = {
        one.info.name: (one.info.digest, other.info.digest)
        for one, other in zip(usual, strict, strict=True)
    }

    same = {name for name, (one, other) in digests.items() if one == other}
    # A blind reviewer is told nothing of the outcome, so its question is the same.
    assert same == {"blind"}
    for reviewer in (*usual, *strict):
        if isinstance(reviewer, ModelReviewer) and reviewer.info.name == "aware":
            told = pose(rollout("a", RIGHT, 0.6), reviewer.asking).form.outcome
            at = reviewer.info.settings["success_at"]
            assert told is (Outcome.SUCCEEDED if at == 0.5 else Outcome.FAILED)


def test_a_recording_is_the_same_reviewer_whatever_a_success_is(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("")
    replay = {"old": ReplayReviewer(path=str(tmp_path / "r.jsonl"))}

    def digest(at: float) -> str:
        config = Config(
            project=Project(success_at=at),
            reviewers={**Config().reviewers, **replay},
            panels={"p": Panel(reviewers=("old",))},
        )
        return build_panel(config, "p")[0].info.digest

    assert digest(0.5) == digest(0.8)


def test_a_model_is_asked_for_blame_below_and_for_soundness_from_the_setting_on() -> None:
    outcomes = [
        Asking(success_at=0.8).outcome(rollout("a", RIGHT, reward)) for reward in (0.79, 0.8, None)
    ]

    assert outcomes == [Outcome.FAILED, Outcome.SUCCEEDED, Outcome.UNKNOWN]


def reviews_at(at: float, text: str, reward: float) -> dict[str, Review]:
    rules = [rule(success_at=at) for rule in RULES.values()]
    found = [asyncio.run(rule.review(rollout("a", text, reward))) for rule in rules]
    return {rule.info.name: review for rule, review in zip(rules, found, strict=True)}


def test_rules_blame_below_the_setting_and_judge_soundness_from_it_on() -> None:
    won, lost = reviews_at(0.6, LUCKY, 0.6), reviews_at(0.61, LUCKY, 0.6)

    for name in ("arithmetic", "dataflow"):
        assert won[name].soundness is Soundness.UNSOUND
        assert won[name].blame is None
        assert lost[name].soundness is None
        assert lost[name].blame is not None
    for rule in ("arithmetic", "dataflow", "novelty"):
        decisive = [
            any(step.label == "decisive" for step in reviews_at(at, RIGHT, 0.6)[rule].steps)
            for at in (0.6, 0.61)
        ]
        assert decisive == [True, False]


def test_the_rule_revision_blames_a_contradiction_below_the_setting_only() -> None:
    text = "So 3 * 4 = 12. Then 12 - 2 = 10. As 3 * 4 = 13, he has 13."

    assert reviews_at(0.6, text, 0.6)["revision"].blame is None
    assert reviews_at(0.61, text, 0.6)["revision"].blame == Blame(0)


def test_an_answer_from_nowhere_is_harmful_unless_it_is_known_to_be_right() -> None:
    text = "3 * 4 = 12\nAnswer: 77"

    def labels(reward: float | None) -> list[str]:
        return [step.label for step in read_dataflow(rollout("a", text, reward)).steps]

    assert [labels(reward) for reward in (0.49, None, 0.5)] == [["harmful"], ["harmful"], []]


def test_a_wrong_attempt_is_no_less_wrong_for_being_counted_as_a_success() -> None:
    steps = [reviews_at(at, WRONG, 0.0)["arithmetic"].steps[0] for at in (0.5, 0.0)]

    assert [step.label for step in steps] == ["harmful", "harmful"]


def attempts(folder: Path) -> Path:
    """A file of a right attempt, a wrong one, and one that is right by luck and worth 0.6."""
    file = folder / "rollouts.jsonl"
    rewards = {RIGHT: 0.9, WRONG: 0.1, LUCKY: 0.6}
    prompt = PROMPT[0].content
    rows = [{"prompt": prompt, "completion": c, "reward": r} for c, r in rewards.items()]
    write_rows(file, rows)
    return file


@pytest.mark.parametrize(("at", "vetoed", "imitated"), [(0.5, 1, 1), (0.8, 0, 1), (0.95, 0, 0)])
def test_a_project_in_python_goes_by_its_setting(tmp_path: Path, at, vetoed, imitated) -> None:
    with open_project("sqlite://", Config(project=Project(success_at=at))) as project:
        project.add(attempts(tmp_path))
        project.review()
        project.settle()
        credited = project.credit("deliberative").methods[0]
        if imitated:
            assert project.export("sft", tmp_path).rows == imitated
        else:
            with pytest.raises(NothingSelected, match="anything to export as sft"):
                project.export("sft", tmp_path)

    assert credited.events.get("vetoed", 0) == vetoed


def test_every_command_goes_by_the_setting_of_the_file(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    here = clean_folder(tmp_path, monkeypatch)
    (here / "dca.toml").write_text("[project]\nsuccess_at = 0.95\n")
    assert invoke(capsys, "import", str(attempts(here))).code == 0
    assert invoke(capsys, "review").code == 0
    assert invoke(capsys, "consensus").code == 0

    document = invoke(capsys, "credit", "--json").document

    (method,) = [item for item in document["methods"] if item["method"] == "deliberative"]
    assert "vetoed" not in method["events"]
    assert invoke(capsys, "export", "--to", "sft", "--out", "out").code == 6
    shown = invoke(capsys, "config", "show").out
    assert "project.success_at" in shown
    assert "0.95" in shown


def test_a_new_configuration_shows_the_setting_with_its_default(tmp_path: Path) -> None:
    head = (Path(cli.__file__).parent / "templates" / "head.toml").read_text()

    (line,) = [line for line in head.splitlines() if "success_at" in line]
    text = line.split("#")[1].strip()
    assert read(f"[project]\n{text}\n", tmp_path).config.project.success_at == SUCCESS_AT
