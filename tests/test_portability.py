"""What must not creep in, because it fails on some Python that we support."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dca", "prompts", "reviewers", "store", "training")


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python 3.11.0 to 3.11.4 match `(?:ab?c)*+a` wrongly; Debian 12 ships 3.11.2."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"""(re\.compile|r["']|\(\?).*\)(?:[*+?]|\{[0-9,]+\})\+""", line)
    ]

    assert found == []
