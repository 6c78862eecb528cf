"""Compile JSON schemas as vLLM does; run in the environment of `make vllm`.

Reads a JSON list of schemas from standard input, and prints a JSON list of the faults.
"""

import json
import sys
from collections.abc import Iterator

import llguidance
import xgrammar

BYTES = [bytes([value]) for value in range(256)]


def faults(schema: dict) -> Iterator[str]:
    """Yield why an engine cannot hold a reply to ``schema``."""
    text = json.dumps(schema)
    # With the cache, as in vLLM: it fails where a compiler without one does not.
    vocabulary = xgrammar.TokenizerInfo([*BYTES, b"<end>"], stop_token_ids=[256])
    compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=1, cache_enabled=True)
    try:
        compiler.compile_json_schema(text)
    except RuntimeError as error:
        yield f"xgrammar: {error}"
    wrong = llguidance.LLMatcher.validate_grammar(
        llguidance.LLMatcher.grammar_from_json_schema(text)
    )
    if wrong:
        yield f"guidance: {wrong}"


if __name__ == "__main__":
    found = [fault for schema in json.load(sys.stdin) for fault in faults(schema)]
    sys.stdout.write(json.dumps(found))
