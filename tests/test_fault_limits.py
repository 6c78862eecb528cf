import math
import re

import anthropic
import openai
import pytest

from benchmarks.fault_server.limits import Bucket, Limits, go_duration, rfc3339
from benchmarks.fault_server.plan import Plan
from benchmarks.fault_server.running import on_thread
from benchmarks.fault_server.settings import Settings
from tests.fault_questions import anthropic_client, chat_body, message_body, openai_client, story

AT_ONCE = Plan(median_s=0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0ms"),
        (0.02, "20ms"),
        (1.5, "1.5s"),
        (360, "6m0s"),
        (3661.25, "1h1m1.25s"),
        (60, "1m0s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds: float, shown: str):
    assert go_duration(seconds) == shown


def test_moments_are_rounded_up_to_the_second():
    assert rfc3339(0.2) == "1970-01-01T00:00:01Z"


def test_a_bucket_fills_continuously_up_to_its_capacity():
    bucket = Bucket(per_minute=60, capacity=2)
    bucket.level = 0
    bucket.fill(0.5)
    assert (bucket.level, bucket.wait(1), bucket.reset_s) == (0.5, 0.5, 1.5)
    bucket.fill(10)
    assert (bucket.level, bucket.wait(1)) == (2, 0)
    # More than the capacity is admitted when the bucket is full, else it never would be.
    assert bucket.wait(5) == 0


def test_requests_per_minute_are_limited_with_openais_headers():
    limits = Limits(requests=6, tokens=120_000, burst_s=20)
    with on_thread(Settings(AT_ONCE, limits)) as server:
        calls = openai_client(server).chat.completions.with_raw_response
        body = chat_body(story(), max_tokens=1000)
        first, second = (calls.create(**body) for _ in range(2))
        with pytest.raises(openai.RateLimitError) as caught:
            calls.create(**body)
    assert first.headers["x-ratelimit-limit-requests"] == "6"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    # A request comes back in ten seconds.
    assert first.headers["x-ratelimit-reset-requests"] == "10s"
    assert re.fullmatch(r"1[5-9](\.\d+)?s|20s", second.headers["x-ratelimit-reset-requests"])
    # 40,000 at most, less what the larger of input and output limit takes.
    taken = 40_000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert taken == max(first.parse().usage.prompt_tokens, 1000)
    assert first.headers["x-ratelimit-limit-tokens"] == "120000"
    headers = caught.value.response.headers
    assert 5 <= int(headers["retry-after"]) <= 10
    assert 5000 < int(headers["retry-after-ms"]) <= 10_000
    totals = server.ledger.totals
    assert (totals.limited, totals.attempts, totals.early) == (1, 2, 0)


def test_tokens_per_minute_are_limited_with_anthropics_headers():
    limits = Limits(requests=600, tokens=60_000, output_tokens=6_000, burst_s=3)
    with on_thread(Settings(AT_ONCE, limits)) as server:
        calls = anthropic_client(server).messages.with_raw_response
        first = calls.create(**message_body(story()))
        with pytest.raises(anthropic.RateLimitError) as caught:
            calls.create(**message_body(story()))
        with pytest.raises(anthropic.RateLimitError):
            calls.create(**message_body(story()))
    headers = first.headers
    used = first.parse().usage
    assert headers["anthropic-ratelimit-requests-limit"] == "600"
    assert headers["anthropic-ratelimit-requests-remaining"] == "29"
    assert headers["anthropic-ratelimit-input-tokens-limit"] == "60000"
    left = str(3000 - used.input_tokens)
    assert headers["anthropic-ratelimit-input-tokens-remaining"] == left
    assert headers["anthropic-ratelimit-tokens-remaining"] == left
    assert headers["anthropic-ratelimit-output-tokens-limit"] == "6000"
    stamp = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(stamp, headers["anthropic-ratelimit-tokens-reset"])
    # The answer took more than the 300 output tokens that there were; 100 come back a second.
    owed = (used.output_tokens + 1 - 300) / 100
    told = int(caught.value.response.headers["retry-after"])
    assert owed > 1
    assert told in (math.ceil(owed), math.ceil(owed - 0.2))
    # The third came before the second's Retry-After was over.
    assert (server.ledger.totals.limited, server.ledger.totals.early) == (2, 1)


def test_limits_hold_for_each_key_and_model_alone():
    with on_thread(Settings(AT_ONCE, Limits(requests=1, burst_s=60))) as server:
        for key, model in (("sk-one", "a"), ("sk-two", "a"), ("sk-one", "b")):
            client = openai_client(server, key=key)
            client.chat.completions.create(**{**chat_body(story()), "model": model})
        with pytest.raises(openai.RateLimitError):
            openai_client(server).chat.completions.create(**{**chat_body(story()), "model": "a"})


def test_a_key_expires_midway_and_the_refusal_repeats_it():
    with on_thread(Settings(AT_ONCE, key_requests=2)) as server:
        client = openai_client(server)
        for number in range(2):
            client.chat.completions.create(**chat_body(story(number)))
        with pytest.raises(openai.AuthenticationError, match="expired: sk-one"):
            client.chat.completions.create(**chat_body(story(2)))
        anthropic_client(server, key="sk-two").messages.create(**message_body(story(2)))
        assert server.ledger.totals.unauthorised == 1
        assert server.ledger.totals.attempts == 3


def test_a_wrong_key_is_refused():
    with (
        on_thread(Settings(AT_ONCE, key="sk-right")) as server,
        pytest.raises(anthropic.AuthenticationError, match="Incorrect API key"),
    ):
        anthropic_client(server).messages.create(**message_body(story()))
