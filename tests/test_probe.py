"""Asking reviewers whether they answer."""

import asyncio

from dca.config import Config
from dca.config.reviewers import CompatibleReviewer
from dca.pipeline.panels import build_reviewer
from dca.pipeline.probe import Probe, probe
from reviewers.replay import Recording, Replay
from reviewers.rules import offline_panel


def test_every_reviewer_is_asked_and_says_why_it_gives_no_review(monkeypatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    server = CompatibleReviewer(
        model="m", base_url="http://127.0.0.1:9/v1", family="f", api_key_env="NO_KEY"
    )
    keyless = build_reviewer(Config(reviewers={"served": server}), "served")
    silent = Replay("old", Recording("d" * 20, {}), family="old")

    first, second, third = probe([offline_panel()[0], silent, keyless])

    assert first == Probe("arithmetic", "")
    assert second == Probe("old", "no review of this rollout was recorded")
    assert third.reviewer == "served"
    assert "NO_KEY is not set" in third.fault


def test_reviewers_are_asked_inside_a_running_loop_too() -> None:
    async def notebook() -> list[Probe]:
        return probe(offline_panel()[:1])

    assert asyncio.run(notebook()) == [Probe("arithmetic", "")]
