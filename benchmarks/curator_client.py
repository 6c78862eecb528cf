"""The client ``curator`` of ``review_clients``, for an environment with bespokelabs-curator.

    .venv-peers/bin/python -m benchmarks.curator_client '{"url": ..., "folder": ..., ...}'

Imports nothing else that is not in the standard library; prints the same line of JSON.
"""

import importlib
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

_SILENT = {
    "CURATOR_DISABLE_CACHE": "1",
    "CURATOR_VIEWER": "0",
    "HOSTED_CURATOR_VIEWER": "0",
    "TELEMETRY_ENABLED": "false",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "OPENAI_API_KEY": "sk-bench",
}


def main() -> None:
    """Ask about all items and print what came of it."""
    work = json.loads(sys.argv[1])
    os.environ.update(_SILENT)
    with tempfile.TemporaryDirectory(prefix="dca-curator-") as cache:
        os.environ["CURATOR_CACHE_DIR"] = cache
        print(json.dumps(_run(work)), flush=True)


def _run(work: dict[str, object]) -> dict[str, object]:
    # tiktoken would fetch its vocabulary from the network; litellm, which curator needs, has it.
    litellm = importlib.util.find_spec("litellm")
    if litellm is not None and litellm.origin is not None:
        vocabulary = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(vocabulary))
    curator = importlib.import_module("bespokelabs.curator")
    bodies = Path(str(work["folder"]), "chat.jsonl").read_text().split("\n")
    asked = [json.loads(body) for body in bodies[: int(str(work["items"]))]]
    llm = curator.LLM(
        model_name="gpt-4o-mini",  # a name whose limits litellm knows
        backend="openai",
        batch=False,
        generation_params={
            "max_tokens": asked[0]["max_tokens"],
            "response_format": asked[0]["response_format"],
        },
        backend_params={
            "base_url": f"{work['url']}/v1",
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "max_concurrent_requests": work["width"],
            "request_timeout": work["timeout"],
            "require_all_responses": False,
            "in_mtok_cost": 0,
            "out_mtok_cost": 0,
        },
    )
    cpu, wall = _cpu(), time.perf_counter()
    found = llm([body["messages"] for body in asked])
    rows = len(getattr(found, "dataset", found))
    return {
        "done": rows,
        "lost": len(asked) - rows,
        "cpu_s": _cpu() - cpu,
        "process_cpu_s": _cpu(),
        "seconds": time.perf_counter() - wall,
        "peak_mb": _peak_mb(),
    }


def _cpu() -> float:
    """Return the processor seconds of this process and its children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return round(int(found) * 1024 / 1e6, 1)


if __name__ == "__main__":
    main()
