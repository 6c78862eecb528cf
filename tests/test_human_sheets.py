"""A person in the panel: sheets out, reviews in, and nothing asked meanwhile."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dca.config import load
from dca.domain.errors import ReviewerUnavailable
from dca.domain.labels import CONTRIBUTION_V1
from dca.domain.review import Blame, Link, LinkKind, Review, Soundness, Step
from dca.domain.rollout import Message
from dca.domain.spans import Span
from dca.pipeline.panels import build_panel
from reviewers.human import Human
from store.engine import open_store, transaction
from store.reviews import reviews_of
from tests.command_line import clean_folder, fill, invoke, plain_rollouts
from tests.scripted_models import rollout

TABLES = """
[review]
panel = "ours"

[panels.ours]
reviewers = ["arithmetic", "ana"]

[reviewers.ana]
kind = "human"
"""
COUNT = 3
TEXT = "2 + 3 = 6. So the answer is 6."


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    (tmp_path / "dca.toml").write_text(TABLES)
    fill(tmp_path / "dca.db", plain_rollouts(COUNT))
    return clean_folder(tmp_path, monkeypatch)


def sheets(capsys, *arguments: str) -> list[dict]:
    """Write sheets and read them."""
    answer = invoke(capsys, "panel", "sheet", "ana", "--out", "sheet.jsonl", *arguments, "--json")
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in Path("sheet.jsonl").read_text().splitlines()]
    assert answer.document["sheets"] == len(lines)
    return lines


def take(capsys, lines: list[dict | str]):
    """Take sheets, each as it is or as text."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    Path("filled.jsonl").write_text("\n".join(texts) + "\n")
    return invoke(capsys, "panel", "take", "ana", "filled.jsonl", "--json")


def stored() -> dict[str, Review]:
    engine = open_store("dca.db")
    ids = [item.id for item in plain_rollouts(COUNT)]
    with transaction(engine) as session:
        given = reviews_of(session, ids, label_set=CONTRIBUTION_V1.name)
    engine.dispose()
    human = build_panel(load(environment={}).config, "ours")[1].info.digest
    return {
        key: review
        for key, found in given.items()
        for review in found
        if review.key.reviewer == human
    }


def test_a_person_fills_in_sheets_and_votes_beside_the_rules(folder, capsys):
    first, second, third = sheets(capsys)
    assert [*first] == [
        "rollout_id", "task", "problem", "outcome", "reference", "labels", "units", "review",
    ]  # fmt: skip
    assert first["problem"] == "What is 0 + 1?"
    assert (first["outcome"], second["outcome"]) == ("succeeded", "failed")
    assert first["units"] == {"1": "0 + 1 = 1.", "2": "The answer is 1."}
    assert [*first["labels"]] == [*CONTRIBUTION_V1.keys]
    assert "soundness" in first["review"]
    assert "blame" in second["review"]

    first["review"]["steps"] = [{"first": 1, "last": 2, "label": "decisive", "reason": "sums"}]
    first["review"]["soundness"] = "sound"
    second["review"] |= {
        "steps": [
            {"first": 1, "last": 1, "label": "harmful", "confidence": 0.9},
            {"first": 2, "last": 2, "label": "idle"},
        ],
        "links": [{"from": 1, "to": 2, "kind": "uses"}],
        "covered_first": 1,
        "covered_last": 2,
        "blame": 1,
    }
    taken = take(capsys, [first, second, third])

    assert taken.code == 0, taken.err
    counts = {key: taken.document[key] for key in ("taken", "before", "blank", "wrong")}
    assert counts == {"taken": 2, "before": 0, "blank": 1, "wrong": []}
    reviews = stored()
    one, two = reviews[first["rollout_id"]], reviews[second["rollout_id"]]
    assert one.steps == (Step(Span(0, 27), "decisive", None, "sums"),)
    assert (one.soundness, one.covered, one.blame) == (Soundness.SOUND, None, None)
    assert [step.span for step in two.steps] == [Span(0, 10), Span(11, 27)]
    assert two.links == (Link(0, 1, LinkKind.USES),)
    assert (two.covered, two.blame) == (Span(0, 27), Blame(0))
    assert json.loads(one.raw) == first

    Path("sheet.jsonl").unlink()
    assert [line["rollout_id"] for line in sheets(capsys)] == [third["rollout_id"]]
    again = take(capsys, [first, second, third])
    assert (again.code, again.document["before"], again.document["taken"]) == (0, 2, 0)

    assert invoke(capsys, "review", "-q").code == 0
    settled = invoke(capsys, "consensus", "--json", "-q")
    assert settled.code == 0, settled.err
    assert {"ana", "arithmetic"} <= {*settled.document["version"]["weights"]}


def test_review_asks_no_person_and_says_who_is_waited_for(folder, capsys):
    answer = invoke(capsys, "review", "--json", "--display", "plain")

    assert answer.code == 0, answer.err
    rule, ana = answer.document["reviewers"]
    assert (rule["reviews"], rule["pending"], rule["by_sheet"]) == (COUNT, 0, False)
    assert (ana["reviews"], ana["pending"], ana["by_sheet"]) == (0, COUNT, True)
    assert ana["asked"] == 0
    assert ana["abstentions"] == {}
    assert "ana is a person: 3 rollouts wait for sheets, see dca panel sheet ana" in answer.err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": [{"first": 2, "last": 1, "label": "idle"}]}, "units 2 to 1 run backwards"),
        ({"steps": [{"first": 2, "last": 9, "label": "idle"}]}, "units 2 to 9 are not among"),
        ({"steps": [{"first": 1, "last": 1, "label": "good"}]}, "unknown label"),
        ({"steps": [{"first": 1, "last": 1}]}, "unknown label"),
        ({"steps": [{"first": 1, "last": 1, "lable": "idle"}]}, "unknown: lable"),
        (
            {
                "steps": [
                    {"first": 1, "last": 1, "label": "idle"},
                    {"first": 3, "last": 3, "label": "idle"},
                ],
                "blame": 2,
            },
            "step 2: units 3 to 3 are not among 1 to 2; blame 2: names step 2",
        ),
        ({"steps": ["1"]}, "a step is no object"),
        ({"steps": {"first": 1}}, "marks no step"),
        ({"step": [{"first": 1, "last": 1, "label": "idle"}]}, "unknown: step"),
        ({"covered_first": 1}, "covered_first and covered_last go together"),
        ({"covered_first": 1, "covered_last": 2}, "marks no step"),
        ({"links": [{"from": 1, "to": 3, "kind": "uses", "why": ""}]}, "unknown: why"),
    ],
)
def test_a_wrong_sheet_is_refused_with_its_line_and_the_others_are_stored(
    folder, capsys, change, reason
):
    first, second, _ = sheets(capsys)
    first["review"]["steps"] = [{"first": 1, "last": 1, "label": "idle"}]
    second["review"] |= change

    taken = take(capsys, [first, "", second])

    assert taken.code == 3
    assert taken.document["taken"] == 1
    (wrong,) = taken.document["wrong"]
    assert (wrong["line"], wrong["rollout_id"]) == (3, second["rollout_id"])
    assert reason in wrong["reason"]
    assert [*stored()] == [first["rollout_id"]]


def test_sheets_that_are_no_sheets_are_named_for_people(folder, capsys):
    first, second, _ = sheets(capsys)
    second["units"]["1"] = "0 + 1 = 2."
    second["review"]["steps"] = [{"first": 1, "last": 1, "label": "idle"}]
    lines: list[dict | str] = [
        {**first, "rollout_id": "nobody"}, {**first, "review": []}, second, "{", {"a": 1},
    ]  # fmt: skip
    take(capsys, lines)

    shown = invoke(capsys, "panel", "take", "ana", "filled.jsonl")

    assert shown.code == 3
    said = shown.out.splitlines()
    assert said[0] == "line 1: its rollout_id names no rollout of the store"
    assert said[1] == "line 2: the sheet has no review"
    assert said[2] == "line 3: units are not those of this rollout: write the sheet anew"
    assert said[3].startswith("line 4: ")
    assert said[4] == "line 5: its rollout_id names no rollout of the store"
    assert said[5] == "ana: 0 reviews stored, 0 stored before, 0 not filled in, 5 wrong"


def test_many_wrong_sheets_are_counted_for_people(folder, capsys):
    Path("filled.jsonl").write_text('{"a": 1}\n' * 25)

    shown = invoke(capsys, "panel", "take", "ana", "filled.jsonl")

    assert "and 5 more" in shown.out.splitlines()


def test_one_rollout_twice_in_a_file_is_one_review(folder, capsys):
    first, *_ = sheets(capsys)
    first["review"]["steps"] = [{"first": 1, "last": 1, "label": "idle"}]

    taken = take(capsys, [first, first])

    assert (taken.document["taken"], taken.document["before"]) == (1, 1)


def test_the_next_step_is_shown_and_nothing_is_written_when_nothing_waits(folder, capsys):
    shown = invoke(capsys, "panel", "sheet", "ana", "--out", "sheet.jsonl")
    assert shown.out.splitlines() == [
        "3 sheets for ana in sheet.jsonl",
        "fill in each review, then: dca panel take ana sheet.jsonl",
    ]
    lines = [json.loads(line) for line in Path("sheet.jsonl").read_text().splitlines()]
    for line in lines:
        line["review"]["steps"] = [{"first": 1, "last": 1, "label": "idle"}]
    assert take(capsys, lines).document["taken"] == 3

    shown = invoke(capsys, "panel", "sheet", "ana", "--out", "more.jsonl")

    assert (shown.code, shown.out) == (0, "nothing waits for ana\n")
    assert not Path("more.jsonl").exists()
    assert "3 rollouts wait" not in invoke(capsys, "review", "--display", "plain").err


def test_sheets_are_written_for_what_is_selected_and_for_people_only(folder, capsys):
    assert len(sheets(capsys, "--limit", "2")) == 2

    exists = invoke(capsys, "panel", "sheet", "ana", "--out", "sheet.jsonl")
    rule = invoke(capsys, "panel", "sheet", "arithmetic", "--out", "more.jsonl")
    nothing = invoke(
        capsys, "panel", "sheet", "ana", "--out", "more.jsonl", "--where", "task:none"
    )

    assert (exists.code, rule.code, nothing.code) == (2, 2, 6)
    assert "sheet.jsonl exists" in exists.err
    assert "arithmetic is of kind rules: only people answer on sheets" in rule.err


def test_a_blind_sheet_tells_neither_outcome_nor_reference():
    blind = Human("ana", blind=True)
    sheet = blind.sheet(rollout(TEXT, truth="5"))

    assert not {"outcome", "reference"} & {*sheet}
    assert {"blame", "soundness"} <= {*sheet["review"]}
    assert blind.info.digest != Human("ana").info.digest


def test_a_sheet_is_written_in_letters_that_people_read(tmp_path, capsys, monkeypatch):
    (tmp_path / "dca.toml").write_text(TABLES)
    asked = (Message("user", "Combien\x00 d'\ud800étés ?"),)
    fill(tmp_path / "dca.db", [replace(rollout(TEXT), prompt=asked)])
    clean_folder(tmp_path, monkeypatch)

    (line,) = sheets(capsys)

    # The store has made what no database can hold visible.
    assert line["problem"] == "Combien\\x00 d'\\ud800étés ?"
    assert "étés" in Path("sheet.jsonl").read_text("utf-8")


def test_a_person_stays_the_same_reviewer():
    ana = Human("ana")

    assert ana.info.digest == Human("ana", family="ana").info.digest
    assert (ana.info.kind, ana.info.family, ana.prompt_digest) == ("human", "ana", "sheet")
    assert Human("ana", family="Ana Lima").info.family == "Ana Lima"
    assert "reference" not in ana.sheet(rollout(TEXT))


def test_a_person_cannot_be_asked():
    with pytest.raises(ReviewerUnavailable, match="ana is a person") as caught:
        asyncio.run(Human("ana").review(rollout(TEXT)))

    assert caught.value.hint is not None
    assert "dca panel sheet ana" in caught.value.hint
