"""A label set keeps its meaning in a store: in the tables, the pipeline and the command line."""

import json
import re

import pytest
from alembic import command
from sqlalchemy import inspect, text

from dca.domain.errors import ConfigError
from dca.domain.labels import CONTRIBUTION_V1, Label, LabelSet
from dca.pipeline.consensus import settle_store
from dca.pipeline.label_sets import check_labels, keep_label_sets, labels_to_show
from dca.pipeline.review import review_store
from reviewers.rules import offline_panel
from store import schema
from store.consensus import add_version
from store.engine import transaction
from store.label_sets import add_label_set, find_label_set
from store.reviews import add_answers, add_reviewers, count_answers
from store.rollouts import add_rollouts
from store.selection import Selection
from tests.command_line import clean_folder, fill, invoke, plain_rollouts
from tests.store_examples import OTHER, REVIEWER, abstention, review, rollout, version

MINE = LabelSet(
    "mine",
    (Label("solves", "S", 1.0, "solves it"), Label("pads", "P", 0.0, "über\ud800 \x00 idle")),
)


def changed(labels: LabelSet, key: str, **fields) -> LabelSet:
    """Return the set with other fields of one label, under the same name."""
    rows = [
        {name: getattr(item, name) for name in ("key", "letter", "value", "description")}
        for item in labels
    ]
    given = [{**row, **fields} if row["key"] == key else row for row in rows]
    return LabelSet(labels.name, tuple(Label(**row) for row in given))


def test_the_first_use_of_a_name_decides_what_it_stands_for(store_engine) -> None:
    with transaction(store_engine) as session:
        assert find_label_set(session, "mine") is None
        assert add_label_set(session, MINE) == MINE
    with transaction(store_engine) as session:
        assert add_label_set(session, changed(MINE, "pads", value=-1.0)) == MINE
        assert add_label_set(session, CONTRIBUTION_V1) == CONTRIBUTION_V1
    with transaction(store_engine) as session:
        assert find_label_set(session, "mine") == MINE
        digests = session.execute(text("SELECT name, digest FROM label_sets ORDER BY name"))
        assert [tuple(row) for row in digests] == [
            ("contribution-v1", CONTRIBUTION_V1.digest),
            ("mine", MINE.digest),
        ]


def test_labels_without_a_record_are_shown_as_configured(store_engine) -> None:
    assert labels_to_show(store_engine, "mine", None) is None
    assert labels_to_show(store_engine, "mine", MINE) == MINE
    with transaction(store_engine) as session:
        assert find_label_set(session, "mine") is None
        keep_label_sets(session, [MINE, MINE])
    assert labels_to_show(store_engine, "mine", None) == MINE
    with pytest.raises(ConfigError, match="'pads' has letter Q, had P"):
        labels_to_show(store_engine, "mine", changed(MINE, "pads", letter="Q"))


def test_a_consensus_is_read_with_its_own_labels(store_engine) -> None:
    with transaction(store_engine) as session:
        stored = add_version(session, version())
        check_labels(session, stored, CONTRIBUTION_V1)
        with pytest.raises(ConfigError, match="consensus 1 is in label set 'contribution-v1'"):
            check_labels(session, stored, MINE)
        with pytest.raises(ConfigError, match="'idle' has another description"):
            check_labels(session, stored, changed(CONTRIBUTION_V1, "idle", description="rests"))


def test_a_panel_whose_labels_changed_asks_nobody_and_settles_nothing(store_engine) -> None:
    asked = [rollout(0), rollout(1)]
    with transaction(store_engine) as session:
        add_rollouts(session, asked)
    first, everything = offline_panel(), Selection()
    review_store(store_engine, first, Selection(limit=1))
    worse = offline_panel(changed(CONTRIBUTION_V1, "setup", value=0.5))

    with pytest.raises(ConfigError, match=r"'setup' has value 0.5, had 0.0") as caught:
        review_store(store_engine, worse, everything)
    with pytest.raises(ConfigError, match=r"'setup' has value 0.5, had 0.0"):
        settle_store(store_engine, worse, everything)
    with pytest.raises(ConfigError, match=r"'setup' has value 0.5, had 0.0"):
        review_store(store_engine, (first[0], worse[1]), everything)

    assert "new set name" in (caught.value.hint or "")
    with transaction(store_engine) as session:
        assert sum(row.reviews for row in count_answers(session)) == 4


def migrate(engine, revision: str) -> None:
    """Bring the schema up or down to a revision."""
    with schema.migration(engine) as config, engine.connect() as connection:
        found = schema.revision(connection) or ""
        step = command.downgrade if revision < found else command.upgrade
        step(config, revision)


def answer(session, kind: str) -> None:
    """Store something that names the built-in set."""
    add_rollouts(session, [rollout(0)])
    add_reviewers(session, [REVIEWER, OTHER])
    if kind == "review":
        add_answers(session, [review(rollout(0))])
    elif kind == "abstention":
        add_answers(session, [abstention(rollout(0), OTHER)])
    elif kind == "consensus":
        add_version(session, version())


@pytest.mark.parametrize(
    ("kind", "known"),
    [("nothing", False), ("review", True), ("abstention", True), ("consensus", True)],
)
def test_an_upgrade_writes_the_built_in_set_down_where_it_was_used(
    store_engine, kind, known
) -> None:
    with transaction(store_engine) as session:
        answer(session, kind)
        keep_label_sets(session, [MINE])

    migrate(store_engine, "0001")
    with store_engine.connect() as connection:
        assert not inspect(connection).has_table("label_sets")
    migrate(store_engine, schema.HEAD)

    schema.check(store_engine)
    with transaction(store_engine) as session:
        found = find_label_set(session, "contribution-v1")
        assert found == (CONTRIBUTION_V1 if known else None)
        # A set of the configuration is not known to the schema: its next use writes it down.
        assert find_label_set(session, "mine") is None
        rows = session.execute(text("SELECT digest, created FROM label_sets")).all()
        assert [row.digest for row in rows] == [CONTRIBUTION_V1.digest] * known
        assert all(re.fullmatch(r"20.{17}\.\d{6}\+00:00", row.created) for row in rows)
        keep_label_sets(session, [CONTRIBUTION_V1, MINE])


PROJECT = """\
[project]
labels = "math-v1"
[review]
panel = "main"
[consensus]
unmarked = "padding"
[panels.main]
reviewers = ["a", "b"]
[reviewers.a]
kind = "replay"
path = "answers.jsonl"
[reviewers.b]
kind = "replay"
path = "answers.jsonl"
[[labels]]
set = "math-v1"
key = "solves"
letter = "S"
value = 1
description = "solves it"
[[labels]]
set = "math-v1"
key = "padding"
letter = "P"
value = 0
description = "idle talk"
[[labels]]
set = "math-v1"
key = "wrong"
letter = "W"
value = -1
description = "wrong"
"""
ORDERED = PROJECT.split("[[labels]]")
VERBS = (
    ("review",),
    ("consensus",),
    ("credit", "--tokenizer", "utf8-bytes"),
    ("export", "--out", "rows", "--tokenizer", "utf8-bytes"),
    ("export", "--out", "spans", "--to", "spans"),
    ("show", "000"),
)
EDITS = {
    "a value": (PROJECT.replace("value = -1", "value = -0.5"), "'wrong' has value -0.5, had -1.0"),
    "a letter": (PROJECT.replace('"W"', '"X"'), "'wrong' has letter X, had W"),
    "a key": (
        PROJECT.replace('key = "wrong"', 'key = "false"'),
        "label 'wrong' is gone; label 'false' is new",
    ),
    "a description": (
        PROJECT.replace('"solves it"', '"solves all"'),
        "'solves' has another description",
    ),
    "the order": (
        "[[labels]]".join([ORDERED[0], ORDERED[1], ORDERED[3], ORDERED[2]]),
        "the order is solves, wrong, padding, was solves, padding, wrong",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with labels of its own, worked through to the export."""
    clean_folder(tmp_path, monkeypatch)
    rollouts = plain_rollouts(1)
    fill(tmp_path / "dca.db", rollouts)
    marked = [
        {"start": 0, "stop": 9, "label": "wrong"},
        {"start": 11, "stop": 26, "label": "solves"},
    ]
    (tmp_path / "answers.jsonl").write_text(
        json.dumps({"rollout_id": rollouts[0].id, "spans": marked})
    )
    (tmp_path / "dca.toml").write_text(PROJECT)
    return tmp_path


def test_labels_that_were_edited_under_their_name_are_refused_by_every_verb(
    capsys, folder
) -> None:
    for verb in VERBS:
        assert invoke(capsys, *verb).code == 0, verb
    sheet = invoke(capsys, "show", "000").out

    for text_, said in EDITS.values():
        (folder / "dca.toml").write_text(text_)
        for verb in VERBS:
            refused = invoke(capsys, *verb)
            assert (refused.code, refused.out) == (2, ""), verb
            assert "label set 'math-v1' is not the one that this store uses" in refused.err
            assert said in refused.err
            assert "give the changed labels a new set name" in refused.err

    (folder / "dca.toml").write_text(PROJECT)
    assert invoke(capsys, "show", "000").out == sheet
    (folder / "dca.toml").write_text(EDITS["a value"][0].replace("math-v1", "math-v2"))
    assert invoke(capsys, "review").code == 0
    moved = invoke(capsys, *VERBS[3])
    assert "consensus 1 is in label set 'math-v1', the project's is 'math-v2'" in moved.err


def test_a_sheet_keeps_the_labels_that_the_configuration_lost(capsys, folder) -> None:
    for verb in VERBS[:2]:
        invoke(capsys, *verb)
    before = invoke(capsys, "show", "000").out

    (folder / "dca.toml").unlink()

    assert invoke(capsys, "show", "000").out == before
    assert "W wrong" in before
