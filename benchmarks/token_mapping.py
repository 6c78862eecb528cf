"""Spans onto tokens: tokens per second on long rollouts, beside a plain loop with ``bisect``.

    python benchmarks/token_mapping.py

Goal: 5 million tokens a second on rollouts of 32,768 tokens with 200 spans. The peer is what one
writes first: for each token, bisect to the span at its first byte and look on while it overlaps.
"""

import argparse
import bisect
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dca.domain.spans import Span
from training.spans import NO_SPAN, byte_edges, map_spans

GOAL = 5e6
"""Tokens a second."""
Case = tuple[str, list[Span], NDArray[np.int64], NDArray[np.int64]]


def make_case(tokens: int, spans: int, seed: int) -> Case:
    """Return a text of mixed scripts, its spans and byte-level tokens that cut characters."""
    random = np.random.default_rng(seed)
    text = "".join(random.choice(list("abcdefgh ,.0123é€数🙂"), size=4 * tokens))
    cuts = np.unique(random.integers(0, len(text), size=2 * spans + 2))
    made = [Span(int(a), int(b)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)][:spans]
    edges = np.unique(random.integers(0, len(text.encode()), size=tokens - 1))
    starts = np.concatenate(([0], edges))
    return text, made, starts, np.append(edges, len(text.encode()))


def vectorised(case: Case) -> NDArray[np.int64]:
    """Return the span of each token by the library."""
    text, spans, starts, stops = case
    return map_spans(spans, byte_edges(text), starts, stops)


def looped(case: Case) -> NDArray[np.int64]:
    """Return the same by the plain loop."""
    text, spans, starts, stops = case
    edges, at = [0], 0
    for character in text:
        at += len(character.encode())
        edges.append(at)
    ranges = [(edges[span.start], edges[span.stop]) for span in spans]
    ends = [stop for _, stop in ranges]
    result: list[int] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        best, most, span = NO_SPAN, 0, bisect.bisect_right(ends, start)
        while span < len(ranges) and ranges[span][0] < stop:
            held = min(stop, ranges[span][1]) - max(start, ranges[span][0])
            if held > most:
                best, most = span, held
            span += 1
        result.append(best)
    return np.array(result)


def rate(function: Callable[[Case], NDArray[np.int64]], cases: list[Case]) -> float:
    """Return tokens a second of CPU, the median over the cases."""
    rates: list[float] = []
    for case in cases:
        started = time.process_time()
        function(case)
        rates.append(len(case[2]) / (time.process_time() - started))
    return statistics.median(rates)


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--spans", type=int, default=200)
    parser.add_argument("--rollouts", type=int, default=40)
    args = parser.parse_args()
    cases = [make_case(args.tokens, args.spans, seed) for seed in range(args.rollouts)]
    for case in cases:
        np.testing.assert_array_equal(vectorised(case), looped(case))
    ours, peer = rate(vectorised, cases), rate(looped, cases)
    figures = {
        "tokens": args.tokens,
        "spans": args.spans,
        "rollouts": args.rollouts,
        "tokens_per_second": round(ours),
        "bisect_loop_tokens_per_second": round(peer),
        "ratio": round(ours / peer, 1),
        "goal": GOAL,
        "met": ours >= GOAL,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
