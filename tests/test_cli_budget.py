"""``dca review`` with caps, ``--dry-run`` and ``--pilot``, and ``dca panel cost``."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.fault_server.plan import Fault, Plan, Rates
from benchmarks.fault_server.running import Served, on_thread
from benchmarks.fault_server.settings import Settings
from benchmarks.review_work import make_rollouts
from dca.cli.review_estimate import grounds, pilot_code
from dca.config.duration import seconds_in
from dca.domain.review import Review, Step, Usage
from dca.domain.spans import Span
from dca.pipeline.estimate import NOTHING
from dca.pipeline.forecast import Forecast, ReviewerForecast
from dca.pipeline.panels import build_panel
from dca.pipeline.pilot import Pilot
from reviewers.protocol import review_key
from store.engine import open_store, transaction
from store.reviews import add_answers, add_reviewers, count_answers
from tests.command_line import clean_folder, fill, invoke, on_terminal

PRICE = "price = {input = 2.0, output = 10.0, cached_input = 0.2}"
CONFIG = """\
[review]
panel = "main"
[consensus]
min_reviewers = 1
min_families = 1
[panels.main]
reviewers = ["a"]
[reviewers.a]
kind = "openai-compatible"
base_url = "{url}/v1"
api_key_env = "LOCAL_API_KEY"
model = "tiny"
family = "tiny"
max_output_tokens = 4000
{price}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A store of 24 rollouts, and an environment that says nothing but the key."""
    here = clean_folder(tmp_path, monkeypatch)
    monkeypatch.setenv("LOCAL_API_KEY", "sk-local")
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    fill(here / "dca.db", list(make_rollouts(24, sentences=6)))
    return here


@pytest.fixture
def server():
    with on_thread(Settings(Plan(1, median_s=0.002))) as served:
        yield served


def configure(folder: Path, server: Served, price: str = PRICE) -> None:
    (folder / "dca.toml").write_text(CONFIG.format(url=server.url, price=price))


def test_a_cap_in_dollars_ends_the_run_with_code_4_and_the_next_run_goes_on(
    capsys, folder, server
) -> None:
    configure(folder, server)

    first = invoke(capsys, "review", "--max-cost", "0.1")
    document = invoke(capsys, "review", "--max-cost", "0.08", "--json").document
    rest = invoke(capsys, "review", "--max-cost", "5")

    assert first.code == 4
    assert re.search(r"^spent \$0\.0\d+ and [\d.]+k tokens$", first.out, re.MULTILINE), first.out
    left = re.search(
        r"^stopped at --max-cost \$0\.10: (\d+) reviews left", first.out, re.MULTILINE
    )
    assert left is not None, first.out
    assert 0 < int(left[1]) < 24
    assert "\ngo on: dca review --max-cost MORE (a cap is for one run;" in first.out
    assert (document["ok"], document["exit"], document["over"]) == (False, 4, "dollars")
    assert document["caps"] == {"dollars": 0.08, "tokens": None, "seconds": None}
    assert 0 < document["spent_dollars"] <= 0.08
    assert rest.code == 0, rest.err
    assert "stopped at" not in rest.out
    # Nothing was paid for twice.
    assert server.ledger.totals.paid == 24


def test_a_cap_below_one_request_asks_nothing_and_says_what_to_do(capsys, folder, server) -> None:
    configure(folder, server, "")

    answer = invoke(capsys, "review", "--max-tokens", "1000")

    assert answer.code == 4
    assert "stopped at --max-tokens 1,000: 24 reviews left to do" in answer.out
    assert "the worst case of one request is more than the cap" in answer.out
    assert server.ledger.totals.requests == 0
    # Tokens are capped, so an unknown price needs no word.
    assert "is not known" not in answer.err


def test_time_ends_a_run_too(capsys, folder) -> None:
    with on_thread(Settings(Plan(1, median_s=0.6, sigma=0.0))) as served:
        configure(folder, served, 'price = "free"')

        answer = invoke(capsys, "review", "--max-time", "1s", "--concurrency", "2")

    assert answer.code == 4
    assert re.search(r"stopped at --max-time 1\.0 s: \d+ reviews left to do", answer.out)
    assert "go on: dca review --max-time MORE" in answer.out
    assert re.search(r"^spent \$0 and ", answer.out, re.MULTILINE)


def test_caps_come_from_the_configuration_and_the_environment(
    capsys, folder, server, monkeypatch
) -> None:
    configure(folder, server)
    text = (folder / "dca.toml").read_text()
    (folder / "dca.toml").write_text(text.replace("[review]", "[review]\nmax_cost = 0.1"))
    monkeypatch.setenv("DCA_REVIEW_MAX_TOKENS", "9000")

    answer = invoke(capsys, "review", "--json")

    assert answer.document["caps"] == {"dollars": 0.1, "tokens": 9000, "seconds": None}
    assert (answer.code, answer.document["over"]) == (4, "tokens")
    shown = invoke(capsys, "config", "show", "--origin").out
    assert re.search(r"review\.max_tokens +9000 +environment DCA_REVIEW_MAX_TOKENS", shown), shown
    monkeypatch.setenv("DCA_REVIEW_MAX_TOKENS", "many")
    wrong = invoke(capsys, "review", "--max-time", "soon", "--max-cost", "-1")
    assert wrong.code == 2
    assert "flag --max-time: review.max_time = 'soon': must be a length of time" in wrong.err
    assert "flag --max-cost: review.max_cost = -1.0: should be greater than 0" in wrong.err
    assert "review.max_tokens = 'many': should be a valid integer" in wrong.err


def test_lengths_of_time() -> None:
    cases = {"90s": 90, "45m": 2_700, "2h30m": 9_000, "1h1m1s": 3_661, "1h1s": 3_601}

    assert {text: seconds_in(text) for text in cases} == cases
    for text in ("", "90", "0s", "1m1h", "-5s", "1.5h", "2 h"):
        with pytest.raises(ValueError, match="length of time"):
            seconds_in(text)


def test_dollars_are_not_capped_where_a_price_is_unknown(capsys, folder, server) -> None:
    configure(folder, server, "")

    answer = invoke(capsys, "review", "--max-cost", "5", "--json")

    assert answer.code == 2
    assert answer.document["error"]["kind"] == "ConfigError"
    assert "reviewer 'a': the price is not known" in answer.err
    assert "add price = { input = ..., output = ... } to [reviewers.a]" in answer.err
    assert "cap tokens: --max-tokens N" in answer.err
    assert server.ledger.totals.requests == 0


@pytest.mark.parametrize(
    ("price", "fault"),
    [
        ('price = "cheap"', 'must be "free" or {input = ..., output = ...}'),
        ("price = {input = 1.0}", "output: Field required"),
        (
            "price = {input = -1, output = 2, per = 3}",
            "input: should be greater than or equal to 0; per: Extra",
        ),
    ],
)
def test_a_price_that_is_wrong_is_named_with_its_line(
    capsys, folder, server, price, fault
) -> None:
    configure(folder, server, price)

    answer = invoke(capsys, "review")

    assert answer.code == 2
    assert "dca.toml:15: reviewers.a.price" in answer.err
    assert fault in answer.err


DEAR = "price = {input = 200.0, output = 1000.0}"


def test_nothing_dear_is_begun_without_a_word(capsys, folder, server) -> None:
    configure(folder, server, DEAR)

    refused = invoke(capsys, "review")
    few = invoke(capsys, "review", "--limit", "1")
    agreed = invoke(capsys, "review", "--limit", "2", "--yes")

    assert refused.code == 2
    told = r"dca: this will cost about \$\d+\.\d\d \(\$\d+\.\d\d to \$\d+\.\d\d\), and nobody is"
    assert re.search(told, refused.err), refused.err
    assert "set --max-cost USD, or add --yes" in refused.err
    assert few.code == 2
    assert agreed.code == 0, agreed.err
    assert server.ledger.totals.paid == 2
    assert invoke(capsys, "review", "--limit", "3", "--max-cost", "10").code == 0


def test_what_costs_little_or_nothing_is_begun_at_once(capsys, folder, server) -> None:
    configure(folder, server)

    assert invoke(capsys, "review", "--limit", "3").code == 0
    configure(folder, server, 'price = "free"')
    assert invoke(capsys, "review", "--limit", "6").code == 0


def test_on_a_terminal_it_is_asked(folder, server) -> None:
    configure(folder, server, DEAR)
    environment = {"LOCAL_API_KEY": "sk-local"}

    # Nobody types: the end of input is no.
    code, shown = on_terminal(
        "review", "--limit", "3", environment=environment, interrupts=("go on? [y/N]",)
    )

    assert "this will cost about $" in shown
    assert code == 1
    assert "stopped: the answer was no" in shown
    assert server.ledger.totals.requests == 0


def test_what_may_not_have_been_charged_is_told_apart(capsys, folder) -> None:
    rates = Rates({Fault.CUT_BODY: 0.3})
    with on_thread(Settings(Plan(1, rates, median_s=0.002))) as served:
        configure(folder, served, PRICE + "\nretries = 9")

        answer = invoke(capsys, "review", "--max-cost", "5", "--limit", "6")

    assert answer.code == 0, answer.err
    assert re.search(
        r"^spent \$\d\.\d+ and \S+ tokens, of which \$\d\.\d+ may not have been charged$",
        answer.out,
        re.MULTILINE,
    ), answer.out


def test_an_estimate_says_what_it_rests_on_and_how_its_pilot_ended() -> None:
    sampled = ReviewerForecast("big", "m", 9_000, prompts=2_000, calls=9_000, answers=400)
    idle = ReviewerForecast("idle", "m", 0)
    found = Forecast(9_000, (sampled, idle), NOTHING, (), NOTHING)

    assert list(grounds(found)) == [
        "big: from the prompts of 2,000 of 9,000 rollouts and 400 stored answers, 95 % interval"
    ]
    ends = {"": 0, "dollars": 4}
    for over, code in ends.items():
        assert pilot_code(Pilot(1, 1, 0.0, stopped=False, over=over)) == code
        assert pilot_code(Pilot(1, 1, 0.0, stopped=True, over=over)) == 130
    assert pilot_code(None) == 0


def test_an_unknown_price_behind_a_key_is_said_once(capsys, folder, server) -> None:
    configure(folder, server, "")

    answer = invoke(capsys, "review", "--limit", "2")

    assert answer.code == 0
    assert answer.err.count("the price of a is not known: no dollars are counted") == 1
    assert "\nspent " in answer.out
    assert "$" not in answer.out


def test_a_price_from_the_table_that_is_old_is_said(capsys, folder, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    (folder / "dca.toml").write_text(
        "[review]\npanel='main'\n[panels.main]\nreviewers=['a']\n"
        "[reviewers.a]\nkind='openai'\nmodel='gpt-5.4-mini'\n"
    )
    monkeypatch.setattr("reviewers.price_table.STALE_DAYS", -1)

    answer = invoke(capsys, "review", "--dry-run")

    assert answer.code == 0, answer.err
    assert answer.err.count("gpt-5.4-mini (2026-06-01)") == 1


def test_a_dry_run_asks_nobody_and_says_what_it_rests_on(capsys, folder, server) -> None:
    configure(folder, server)

    answer = invoke(capsys, "review", "--dry-run", "--limit", "20")
    document = invoke(capsys, "review", "--dry-run", "--limit", "20", "--json").document

    assert answer.code == 0, answer.err
    row = re.search(
        r"^a +20 +20 +\S+ \(\S+ to \S+\) +\S+ \(\S+ to \S+\) +\$\S+ \(\$\S+ to \$\S+\) ",
        answer.out,
        re.MULTILINE,
    )
    assert row is not None, answer.out
    assert (
        "\na: from all real prompts and guesses of token and reply lengths; --pilot" in answer.out
    )
    assert "20 rollouts, panel main, 16 at once: $" in answer.out
    assert answer.out.endswith("nothing was asked\n")
    assert document["schema"] == "dca.review.estimate/1"
    (found,) = document["reviewers"]
    assert (found["pending"], found["calls"], found["answers"]) == (20, 20, 0)
    assert found["dollars"]["low"] < found["dollars"]["middle"] < found["dollars"]["high"]
    assert document["pilot"] is None
    assert server.ledger.totals.requests == 0
    engine = open_store("dca.db")
    with transaction(engine) as session:
        assert count_answers(session) == []
    engine.dispose()


def test_a_dry_run_counts_tokens_where_no_price_is_known(capsys, folder, server) -> None:
    configure(folder, server, "")
    text = (folder / "dca.toml").read_text()
    (folder / "dca.toml").write_text(text.replace('["a"]', '["a", "novelty"]'))

    answer = invoke(capsys, "review", "--dry-run")

    assert answer.code == 0, answer.err
    assert " price unknown " in answer.out
    assert re.search(r"^novelty +24 +0 +0 +0 +\$0 +-$", answer.out, re.MULTILINE)
    assert " at once: what a costs, " in answer.out


def test_a_pilot_is_paid_for_once_and_narrows_the_estimate(capsys, folder, server) -> None:
    configure(folder, server)
    before = invoke(capsys, "review", "--dry-run", "--json").document["reviewers"][0]

    answer = invoke(capsys, "review", "--pilot", "8")
    after = invoke(capsys, "review", "--dry-run", "--json").document["reviewers"][0]
    rest = invoke(capsys, "review", "--json").document

    assert answer.code == 0, answer.err
    assert "\na: from all real prompts and 8 stored answers, 95 % interval\n" in answer.out
    assert re.search(r"^asked for the pilot: 8 reviews, \$0\.\d+ and ", answer.out, re.MULTILINE)
    assert (after["pending"], after["answers"]) == (16, 8)
    assert server.ledger.totals.paid == 24
    assert rest["reviewers"][0]["cached"] == 8

    def width(found: dict) -> float:
        return (found["dollars"]["high"] - found["dollars"]["low"]) / found["dollars"]["middle"]

    assert width(after) < width(before) / 4
    assert after["dollars"]["low"] <= rest["spent_dollars"] <= after["dollars"]["high"]
    done = invoke(capsys, "review", "--pilot", "8", "--json").document
    assert (done["pilot"], done["reviewers"][0]["calls"]) == (None, 0)


def test_a_pilot_keeps_to_the_caps_and_asks_first(capsys, folder, server) -> None:
    configure(folder, server)
    single = invoke(capsys, "review", "--pilot", "1", "--json").document["pilot"]
    capped = invoke(capsys, "review", "--pilot", "20", "--max-cost", "0.1")
    configure(folder, server, DEAR)
    refused = invoke(capsys, "review", "--pilot", "2")

    assert single["asked"] == 1
    assert capped.code == 4
    assert "; stopped at the cap on dollars\n" in capped.out
    assert refused.code == 2
    assert "and nobody is there to agree" in refused.err


def test_panel_cost_shows_what_each_reviewer_has_cost(capsys, folder, server) -> None:
    configure(folder, server)
    assert "no reviews are stored" in invoke(capsys, "panel", "cost").out
    reviewed = invoke(capsys, "review", "--json").document
    invoke(capsys, "review", "--panel", "offline", "--limit", "2")

    answer = invoke(capsys, "panel", "cost")
    document = invoke(capsys, "panel", "cost", "--json").document

    found = {row["name"]: row for row in document["reviewers"]}
    row = found["a"]
    assert row["reviews"] == 24
    assert row["dollars"] == pytest.approx(reviewed["spent_dollars"])
    assert row["per_thousand"] == pytest.approx(1000 * reviewed["spent_dollars"] / 24)
    assert row["cached_tokens"] == server.ledger.totals.cached_tokens > 0
    # What a cached token costs less: 2.00 - 0.20 dollars a million.
    assert row["saved_dollars"] == pytest.approx(row["cached_tokens"] * 1.8 / 1e6)
    assert (found["novelty"]["dollars"], found["novelty"]["unknown"]) == (0.0, 0)
    assert document["dollars"] == pytest.approx(reviewed["spent_dollars"])
    assert re.search(
        r"^a +tiny +24 +0 +[\d.]+k +\d+% +[\d.,]+k? +\$0\.\d+ +\$0\.\d+ +\$\d",
        answer.out,
        re.MULTILINE,
    )
    assert re.search(r"^\$0\.\d+ in all, as far as prices are known$", answer.out, re.MULTILINE)


def test_panel_cost_counts_what_it_does_not_know(capsys, folder, server, monkeypatch) -> None:
    configure(folder, server, "")
    monkeypatch.setenv("DCA_CONFIG", str(folder / "dca.toml"))
    from dca.config import load  # noqa: PLC0415 - after the file is there

    (asked,) = build_panel(load(start=folder).config, "main")
    rollouts = list(make_rollouts(3, sentences=6))
    usages = (Usage(100, 10, cached_tokens=40, cache_write_tokens=50), Usage(), Usage(5, 5))
    engine = open_store("dca.db")
    with transaction(engine) as session:
        add_reviewers(session, [asked.info])
        add_answers(
            session,
            [
                Review(review_key(asked, rollout), (Step(Span(0, 2), "idle"),), usage=usage)
                for rollout, usage in zip(rollouts, usages, strict=True)
            ],
        )
    engine.dispose()

    answer = invoke(capsys, "panel", "cost")
    (row,) = invoke(capsys, "panel", "cost", "--json").document["reviewers"]
    configure(folder, server, "price = {input = 2.0, output = 10.0, cache_write = 4.0}")
    (dear,) = invoke(capsys, "panel", "cost", "--json").document["reviewers"]
    costly = invoke(capsys, "panel", "cost").out
    (folder / "dca.toml").write_text("")
    (stranger,) = invoke(capsys, "panel", "cost", "--json").document["reviewers"]

    assert (row["dollars"], row["unknown"], row["per_thousand"]) == (None, 3, None)
    assert row["saved_dollars"] is None
    assert "a: of 3 answers the price or the tokens are not known" in answer.out
    # Writing 50 tokens cost 2 dollars a million more, and reading saved nothing.
    assert dear["saved_dollars"] == pytest.approx(-100 / 1e6)
    assert "-$0.00010" in costly
    assert stranger["saved_dollars"] is None
    assert json.dumps(stranger)
