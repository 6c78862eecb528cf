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
    AskedReviewer,
    CompatibleReviewer,
    HumanReviewer,
    ModelReviewer,
    OpenAIReviewer,
    ReplayReviewer,
    ReviewerConfig,
    RulesReviewer,
    TransformersReviewer,
    VllmReviewer,
)
from dca.config.secret import redact

__all__ = [
    "OFFLINE",
    "AnthropicReviewer",
    "AskedReviewer",
    "CompatibleReviewer",
    "Config",
    "ConsensusSettings",
    "CreditSettings",
    "Flags",
    "HumanReviewer",
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
    "TransformersReviewer",
    "VllmReviewer",
    "load",
    "redact",
]
