"""What tokens cost: hand-worked sums, the worst case, the price table."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.config import load
from dca.config.reviewers import AnthropicReviewer, CompatibleReviewer, OpenAIReviewer
from dca.domain.review import Usage
from dca.pipeline.pricing import listed_price, price_of, stale_prices
from reviewers.budget import Cost
from reviewers.dialects.anthropic_messages import AnthropicMessages
from reviewers.dialects.openai_chat import OpenAIChat
from reviewers.dialects.openai_responses import OpenAIResponses
from reviewers.price_table import STALE_DAYS, find_price, load_prices
from reviewers.prices import ENVELOPE_TOKENS, FREE, Price, cost_of, worst_case

FULL = Price(2.0, 10.0, cached_input=0.1, cache_write=2.5, batch=0.5)
BANDED = Price(1.0, 5.0, long_above=1_000, long=Price(2.0, 7.5))


def test_each_kind_of_token_is_charged_once_at_its_own_price() -> None:
    # 1,000 in: 600 from the cache, 300 written to it, 100 plain; 40 out, 30 of them hidden.
    usage = Usage(1_000, 40, reasoning_tokens=30, cached_tokens=600, cache_write_tokens=300)

    # 100 x 2.00 + 600 x 0.10 + 300 x 2.50 + 40 x 10 = 200 + 60 + 750 + 400 = 1,410 millionths.
    assert cost_of(usage, FULL) == Cost(1_410_000, 1_040)
    assert cost_of(usage, FULL, batch=True) == Cost(705_000, 1_040)
    # Without prices of their own, cached and written input cost what other input costs.
    assert cost_of(usage, Price(2.0, 10.0)) == Cost(2_400_000, 1_040)


def test_a_dollar_a_million_is_a_thousand_nanodollars_a_token() -> None:
    assert cost_of(Usage(1, 0), Price(1.0, 0.0)) == Cost(1_000, 1)
    assert cost_of(Usage(0, 1_000_000), Price(0.0, 15.0)) == Cost(15_000_000_000, 1_000_000)
    # Rounded up, but a sum of decimal fractions is not pushed over the next nanodollar.
    assert cost_of(Usage(1, 1), Price(0.0001, 0.0002)) == Cost(1, 2)
    assert cost_of(Usage(3, 0), Price(0.1, 0.0)) == Cost(300, 3)


def test_what_is_not_known_is_not_charged_as_nothing() -> None:
    assert cost_of(Usage(None, 5), FULL) is None
    assert cost_of(Usage(5, None), FULL) is None
    assert cost_of(Usage(5, 5), None) == Cost(0, 10)
    assert cost_of(Usage(5, 5), FREE) == Cost(0, 10)


def test_a_long_request_is_charged_as_a_whole_at_the_long_price() -> None:
    assert cost_of(Usage(1_000, 10), BANDED) == Cost(1_050_000, 1_010)
    assert cost_of(Usage(1_001, 10), BANDED) == Cost(2_002_000 + 75_000, 1_011)


def test_the_worst_case_is_every_byte_a_token_and_the_reply_at_its_limit() -> None:
    taken = 744 + ENVELOPE_TOKENS
    assert taken == 1_000

    # The dearest kind of input is what is written to the cache.
    assert worst_case(744, 50, FULL) == Cost(1_000 * 2_500 + 50 * 10_000, 1_050)
    assert worst_case(744, 50, FULL, batch=True) == Cost(1_500_000, 1_050)
    assert worst_case(744, 50, None) == Cost(0, 1_050)
    assert worst_case(744, 50, BANDED) == Cost(1_250_000, 1_050)
    assert worst_case(745, 50, BANDED) == Cost(1_001 * 2_000 + 50 * 7_500, 1_051)


DOLLARS = st.floats(0, 200, allow_nan=False)
OPTIONAL = st.none() | DOLLARS
PLAIN = st.builds(Price, DOLLARS, DOLLARS, OPTIONAL, OPTIONAL, st.floats(0.01, 1))
PRICES = (
    st.none()
    | PLAIN
    | st.builds(
        lambda short, above, long: Price(
            short.input,
            short.output,
            short.cached_input,
            short.cache_write,
            short.batch,
            above,
            long,
        ),
        PLAIN,
        st.integers(0, 5_000),
        PLAIN,
    )
)


@given(
    st.integers(0, 10_000),
    st.integers(1, 20_000),
    st.tuples(*[st.floats(0, 1)] * 4),
    PRICES,
    st.booleans(),
)
def test_no_request_costs_more_than_its_worst_case(body, limit, shares, price, batch) -> None:
    taken = round((body + ENVELOPE_TOKENS) * shares[0])
    cached = round(taken * shares[1])
    written = round((taken - cached) * shares[2])
    usage = Usage(
        taken, round(limit * shares[3]), cached_tokens=cached, cache_write_tokens=written
    )

    cost = cost_of(usage, price, batch=batch)

    worst = worst_case(body, limit, price, batch=batch)
    assert cost is not None
    assert cost.nanodollars <= worst.nanodollars
    assert cost.tokens <= worst.tokens


def test_every_provider_says_what_it_read_from_and_wrote_to_its_cache() -> None:
    chat = OpenAIChat().decode(
        b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{'
        b'"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4,'
        b'"cache_write_tokens":3}}}'
    )
    responses = OpenAIResponses().decode(
        b'{"status":"completed","output":[],"usage":{"input_tokens":9,"output_tokens":2,'
        b'"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":3}}}'
    )
    messages = AnthropicMessages().decode(
        b'{"content":[],"stop_reason":"end_turn","usage":{"input_tokens":2,"output_tokens":2,'
        b'"cache_creation_input_tokens":3,"cache_read_input_tokens":4}}'
    )

    for usage in (chat.usage, responses.usage, messages.usage):
        # 2 plain x 2.00 + 4 x 0.10 + 3 x 2.50 + 2 x 10 = 31.9 millionths of a dollar.
        assert cost_of(usage, FULL) == Cost(31_900, 11)


def test_the_table_holds_dated_prices_with_their_sources() -> None:
    table = load_prices()

    names = [(entry.provider, model) for entry in table for model in entry.models]
    assert len(set(names)) == len(names)
    for entry in table:
        price = entry.price
        assert 0 < price.input < price.output
        assert (price.cached_input or 0) < price.input <= (price.cache_write or price.input)
        assert price.batch in {0.5, 1.0}
        assert date(2026, 1, 1) < entry.read
        assert all(source.startswith("https://") for source in entry.sources)
        if price.long is not None:
            assert price.long_above in {100_000, 272_000}
            assert price.long.input > price.input
            assert price.long.output > price.output
            assert price.long.batch == price.batch


def test_a_model_or_a_dated_snapshot_of_it_is_found_and_no_relative() -> None:
    luna = find_price("openai", "gpt-6-luna")
    assert luna is not None
    assert (luna.price.input, luna.price.output) == (0.1, 0.5)
    assert find_price("openai", "gpt-6-luna-2026-09-22") == luna
    haiku = find_price("anthropic", "claude-haiku-5-5")
    assert haiku is not None
    assert find_price("anthropic", "claude-haiku-5-5-20261007") == haiku

    assert find_price("openai", "gpt-6-luna-pro") is None
    assert find_price("openai", "gpt-6") is None
    assert find_price("anthropic", "gpt-6-luna") is None
    # A name that begins with another one is another model.
    opus, older = (
        find_price("anthropic", "claude-opus-5-5"),
        find_price("anthropic", "claude-opus-5"),
    )
    assert opus is not None
    assert older is not None
    assert (opus.price.input, older.price.input) == (4.0, 5.0)


def test_a_price_is_stale_after_half_a_year() -> None:
    entry = find_price("anthropic", "claude-haiku-5-5")
    assert entry is not None
    last = date.fromordinal(entry.read.toordinal() + STALE_DAYS)

    assert not entry.is_stale(last)
    assert entry.is_stale(date.fromordinal(last.toordinal() + 1))


def openai(**changed) -> OpenAIReviewer:
    return OpenAIReviewer.model_validate({"model": "gpt-6-luna", **changed})


@pytest.fixture(autouse=True)
def no_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


def test_a_price_of_the_users_goes_before_the_table() -> None:
    table = price_of(openai())
    assert table is not None
    assert table.long_above == 272_000
    assert price_of(openai(price={"input": 3, "output": 4.5})) == Price(3.0, 4.5)
    own = {"input": 3.0, "output": 4.0, "cached_input": 1.0, "cache_write": 5.0, "batch": 0.5}
    assert price_of(openai(price=own)) == Price(3.0, 4.0, 1.0, 5.0, 0.5)
    assert price_of(openai(price="free")) == FREE
    assert price_of(openai(model="gpt-99")) is None


def test_the_table_holds_for_the_providers_own_address_alone(monkeypatch) -> None:
    assert listed_price(openai(base_url="https://api.openai.com/v1")) is not None
    assert listed_price(openai(base_url="https://gateway.example/v1")) is None
    compatible = {"base_url": "http://127.0.0.1:8000/v1", "model": "gpt-6-luna", "family": "x"}
    # Even on this machine: it may pass requests on to a provider that charges.
    assert price_of(CompatibleReviewer.model_validate(compatible)) is None
    claude = AnthropicReviewer.model_validate({"model": "claude-haiku-5-5"})
    assert price_of(claude) is not None

    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://proxy.example")

    assert price_of(claude) is None


def test_stale_prices_in_use_are_named_once(tmp_path) -> None:
    (tmp_path / "dca.toml").write_text(
        "[reviewers.a]\nkind='openai'\nmodel='gpt-5.4-mini'\n"
        "[reviewers.b]\nkind='openai'\nmodel='gpt-5.4-mini'\n"
        "[reviewers.c]\nkind='openai'\nmodel='gpt-5.4'\nprice='free'\n"
        "[panels.p]\nreviewers=['a','b','c','novelty']\n"
    )
    config = load(start=tmp_path, environment={}).config
    names = config.panels["p"].reviewers

    assert stale_prices(config, names, date(2026, 11, 28)) == ""
    found = stale_prices(config, names, date(2027, 6, 1))
    assert found.startswith("prices older than 180 days: gpt-5.4-mini (2026-06-01); set price")
