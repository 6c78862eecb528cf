"""From configuration to reviewers, and whether they can agree."""

import pytest

from dca.config import Config
from dca.domain.consensus import ConsensusParams
from dca.domain.errors import ConfigError
from dca.pipeline.panels import build_panel, build_reviewer, check_panel, shortage


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
