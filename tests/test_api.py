"""The Python interface on a real store, also inside a running event loop."""

import asyncio
import json
from pathlib import Path

import pytest

import dca
from dca.domain.consensus import Status
from dca.domain.errors import NothingSelected, SelectionError
from dca.pipeline.importing import ImportOptions
from reviewers.rules import offline_panel
from training.row_files import read_rows
from training.tokens import Utf8Bytes

PROBLEM = "A crate holds 6 jars, and 2 are sold. How many jars are left in 3 such crates?"
ROWS = [
    {
        "prompt": PROBLEM,
        "completion": "6 - 2 = 4 jars a crate.\n3 * 4 = 12.\nAnswer: 12",
        "reward": 1,
    },
    {
        "prompt": PROBLEM,
        "completion": "6 - 2 = 3 jars a crate.\n3 * 3 = 9.\nAnswer: 9",
        "reward": 0,
    },
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rollouts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return path


def test_ten_lines_do_the_whole_job(file: Path, tmp_path: Path) -> None:
    with dca.open_project(tmp_path / "dca.db") as project:
        assert project.add(file).new == 2
        assert project.review().complete
        version = project.settle().version
        assert version.rollouts == 2
        assert [m.method for m in project.credit().methods] == ["uniform", "grpo", "deliberative"]
        exported = project.export("tokens", tmp_path / "out")

        lost = next(project.rollouts("reward:<1"))
        found = project.consensus(lost.id[:8])
    rows = {row.reward: row for row in read_rows(exported.path)}
    assert found is not None
    assert found.blame is not None
    assert found.blame.status is Status.AGREED
    assert found.blame.span is not None
    assert "6 - 2 = 3" in found.blame.span.text(lost.completion)
    blamed = rows[0.0].weight > 0
    assert blamed[: len("6 - 2 = 3")].all()
    assert not blamed[25:].any()


def test_a_panel_of_ones_own_and_a_tokenizer_by_name_or_object(file: Path, tmp_path: Path) -> None:
    project = dca.open_project("sqlite://")
    project.add(file, options=ImportOptions(rejects=tmp_path / "rejects.jsonl"))
    pair = offline_panel()[:2]

    project.review(pair)
    version = project.settle(pair).version
    by_name = project.credit("grpo", tokenizer="utf8-bytes")
    by_object = project.credit("grpo", tokenizer=Utf8Bytes())
    exported = project.export("tokens", tmp_path, method="grpo", tokenizer="utf8-bytes")
    project.close()

    assert version.panel == ("arithmetic", "dataflow")
    assert by_name.methods[0].tokens == by_object.methods[0].tokens
    assert exported.rows == 2


def test_it_works_inside_a_running_event_loop(file: Path, tmp_path: Path) -> None:
    async def notebook() -> int:
        with dca.open_project(tmp_path / "dca.db") as project:
            project.add(file)
            return project.review().selected

    assert asyncio.run(notebook()) == 2


def test_before_anything_is_settled_there_is_no_consensus(file: Path, tmp_path: Path) -> None:
    with dca.open_project(tmp_path / "dca.db") as project:
        project.add(file)
        some = next(project.rollouts())

        assert project.consensus(some.id) is None
        with pytest.raises(NothingSelected):
            project.consensus("zzz")
        with pytest.raises(SelectionError):
            next(project.rollouts("colour:red"))


def test_the_public_names_are_these() -> None:
    assert dca.__all__ == ["Project", "open_project"]
    assert dca.Project is type(dca.open_project("sqlite://"))
    with pytest.raises(AttributeError, match="no attribute 'closed_project'"):
        _ = dca.closed_project
