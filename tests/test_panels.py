"""From configuration to reviewers, and whether they can agree."""

from typing import Any, get_args

import pytest

from dca.config import Config
from dca.config.reviewers import ModelReviewer as ModelSettings
from dca.config.reviewers import Persona
from dca.domain.consensus import ConsensusParams
from dca.domain.errors import ConfigError
from dca.pipeline.panels import build_panel, build_reviewer, check_panel, shortage
from prompts.words import load_personas
from reviewers.model_reviewer import ModelReviewer
from reviewers.question import Asking, Style
from reviewers.schema import ReplyProtocol


def test_names_that_the_configuration_lacks_are_refused_with_those_that_it_has() -> None:
    with pytest.raises(ConfigError, match="there is no panel 'ofline'") as panel:
        build_panel(Config(), "ofline")
    with pytest.raises(ConfigError, match="there is no reviewer 'noone'") as reviewer:
        build_reviewer(Config(), "noone")

    assert panel.value.hint == "the panels are offline"
    assert reviewer.value.hint == "the reviewers are arithmetic, dataflow, novelty, revision"


def test_a_panel_is_short_of_reviewers_before_it_is_short_of_families() -> None:
    four = build_panel(Config(), "offline")
    alike = [build_reviewer(Config(), "novelty")] * 2

    assert shortage(four, ConsensusParams()) is None
    check_panel(four[:1], ConsensusParams(min_reviewers=1, min_families=1))
    with pytest.raises(ConfigError, match="one reviewer can agree with nobody"):
        check_panel(four[:1], ConsensusParams())
    with pytest.raises(ConfigError, match="reviewers are 4: it could never agree on anything"):
        check_panel(four, ConsensusParams(min_reviewers=5))
    with pytest.raises(ConfigError, match=r"families are 1 \(rules-novelty\)"):
        check_panel(alike, ConsensusParams())


OWN: dict[str, Any] = {
    "kind": "openai-compatible",
    "model": "m",
    "family": "f",
    "base_url": "http://h/v1",
}


def built(**settings: object) -> ModelReviewer:
    reviewer = build_reviewer(
        Config.model_validate({"reviewers": {"a": {**OWN, **settings}}}), "a"
    )
    assert isinstance(reviewer, ModelReviewer)
    return reviewer


def test_a_reviewer_asks_as_it_is_configured() -> None:
    plain = built()
    reviewer = built(
        style="cheap",
        persona="skeptic",
        examples=2,
        rollouts_per_request=4,
        context_tokens=40_000,
        protocol="quotes",
        outcome="blind",
    )

    assert plain.asking == Asking()
    assert reviewer.asking == Asking(
        protocol=ReplyProtocol.QUOTES,
        blind=True,
        style=Style.CHEAP,
        persona="skeptic",
        examples=2,
        together=4,
        context_tokens=40_000,
    )
    assert reviewer.info.settings["persona"] == "skeptic"
    assert reviewer.prompt_digest != plain.prompt_digest


@pytest.mark.parametrize("style", get_args(ModelSettings.model_fields["style"].annotation))
def test_every_style_that_can_be_configured_exists(style: str) -> None:
    assert built(style=style).asking.style == style


def test_the_personas_that_can_be_configured_are_those_of_the_file() -> None:
    assert set(get_args(Persona)) == set(load_personas())
