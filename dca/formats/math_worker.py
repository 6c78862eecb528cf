"""The process behind ``dca.formats.math_judge``: one JSON question a line, one word a line back.

Run as a script; imports nothing of DCA.
"""

import json
import resource
import sys

from math_verify import parse, verify
from math_verify.errors import TimeoutException

MEMORY = 4 << 30
"""Bytes of address space; a bigger computation ends as ``undecided``."""
SECONDS = 3
"""Time for one step of parsing or comparing; a longer one ends as ``undecided``."""


def answer(text: str, truth: str) -> str:
    """Compare the answer that ends ``text`` with ``truth``; return the name of an outcome."""
    wanted = parse(
        truth if "$" in truth or "\\boxed" in truth else f"\\boxed{{{truth}}}",
        parsing_timeout=SECONDS,
    )
    try:
        found = parse(text, parsing_timeout=SECONDS, raise_on_error=True)
        if not wanted or not found:
            return "no_answer" if wanted else "unreadable_truth"
        same = verify(wanted, found, timeout_seconds=SECONDS, raise_on_error=True)
    except (TimeoutException, MemoryError):
        return "undecided"
    except Exception:  # noqa: BLE001 - math-verify lets through whatever sympy raises
        # One of several readings failed; without raising, math-verify tries the others.
        same = verify(wanted, parse(text), timeout_seconds=SECONDS)
    return "correct" if same else "wrong"


def main() -> None:
    """Say that the worker is there, then answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # The first comparison builds the parsers, which is no part of a question's time.
    answer("\\boxed{1}", "1")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        sys.stdout.write(answer(question["text"], question["truth"]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
