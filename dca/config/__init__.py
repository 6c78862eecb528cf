"""The configuration: ``dca.toml``, the environment and flags become frozen models."""

from dca.config.load import Flags, Loaded, Setting, load
from dca.config.models import (
    OFFLINE,
    Config,
    ConsensusSettings,
    CreditSettings,
    Panel,
    Project,
    ReviewSettings,
)
from dca.config.reviewers import (
    AnthropicReviewer,
    CompatibleReviewer,
    ModelReviewer,
    OpenAIReviewer,
    ReplayReviewer,
    ReviewerConfig,
    RulesReviewer,
)
from dca.config.secret import redact

__all__ = [
    "OFFLINE",
    "AnthropicReviewer",
    "CompatibleReviewer",
    "Config",
    "ConsensusSettings",
    "CreditSettings",
    "Flags",
    "Loaded",
    "ModelReviewer",
    "OpenAIReviewer",
    "Panel",
    "Project",
    "ReplayReviewer",
    "ReviewSettings",
    "ReviewerConfig",
    "RulesReviewer",
    "Setting",
    "load",
    "redact",
]
