import contextlib
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dca.domain.errors import SelectionError
from dca.domain.rollout import Message, Tokens
from store.engine import transaction
from store.rollouts import add_rollouts, count_rollouts, iter_rollouts
from store.selection import RewardBound, Selection, parse_where
from tests.store_examples import rollout


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("", Selection()),
        ("  \t ", Selection()),
        ("carry the one", Selection(words=("carry", "the", "one"))),
        ('"carry the one"', Selection(words=("carry the one",))),
        ("task:sums", Selection(tasks=("sums",))),
        ("task:sums task:logic", Selection(tasks=("sums", "logic"))),
        ('task:"two words" model:m', Selection(tasks=("two words",), models=("m",))),
        ("model:org/name:v2", Selection(models=("org/name:v2",))),
        ("group:g1 id:7f", Selection(groups=("g1",), id_starts=("7f",))),
        ("step:120", Selection(first_step=120, last_step=120)),
        ("step:120..200", Selection(first_step=120, last_step=200)),
        ("step:120..", Selection(first_step=120)),
        ("step:..200", Selection(last_step=200)),
        ("step:0..10 step:5..20", Selection(first_step=5, last_step=10)),
        ("reward:1", Selection(rewards=(RewardBound("=", 1.0),))),
        ("reward:=-1", Selection(rewards=(RewardBound("=", -1.0),))),
        ("reward:<1", Selection(rewards=(RewardBound("<", 1.0),))),
        (
            "reward:>=0.5 reward:<=.75",
            Selection(rewards=(RewardBound(">=", 0.5), RewardBound("<=", 0.75))),
        ),
        ("ids:exact", Selection(token_ids=("exact",))),
        ("ids:none ids:approximate", Selection(token_ids=("none", "approximate"))),
        ("reward:>1e-3", Selection(rewards=(RewardBound(">", 0.001),))),
        (
            "-wait -task:a -model:b",
            Selection(not_words=("wait",), not_tasks=("a",), not_models=("b",)),
        ),
        ('-"a phrase" -task:"b c"', Selection(not_words=("a phrase",), not_tasks=("b c",))),
        ('"-5" 5:30', Selection(words=("-5", "5:30"))),
        (r'"say \"so\"" "\frac{1}{2}"', Selection(words=('say "so"', r"\frac{1}{2}"))),
        ('it"s', Selection(words=('it"s',))),
        ("x-y", Selection(words=("x-y",))),
    ],
)
def test_terms_are_read_as_the_grammar_says(where, wanted):
    assert parse_where(where) == wanted


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tsak:sums", "'tsak:sums': unknown key 'tsak', did you mean task:?"),
        ("zzz:1", "'zzz:1': unknown key 'zzz'"),
        ("Answer: 4", "'Answer:': unknown key 'Answer'"),
        ("task:", "'task:' has no value"),
        ('task:""', "'task:\"\"' has no value"),
        ('""', "'\"\"' has no value"),
        ("-", "'-' has no value"),
        ("step:", "'step:': wanted step:120, step:120..200"),
        ("step:x", "'step:x': wanted step:120, step:120..200"),
        ("step:..", "'step:..': wanted"),
        ("step:-5", "'step:-5': wanted"),
        ("step:200..120", "'step:200..120' runs backwards"),
        ("reward:", "'reward:': wanted reward:1"),
        ("reward:high", "'reward:high': wanted reward:1"),
        ("reward:<nan", "'reward:<nan': wanted"),
        ("reward:=>1", "'reward:=>1': wanted"),
        ("ids:", "'ids:': wanted ids:exact, ids:approximate or ids:none"),
        ("ids:sampled", "'ids:sampled': wanted ids:exact"),
        ("-ids:none", "'-ids:none': ids cannot be excluded"),
        ("-step:120", "'-step:120': step cannot be excluded"),
        ("-reward:1", "'-reward:1': reward cannot be excluded"),
        ("-group:g", "'-group:g': group cannot be excluded"),
        ("-id:7", "'-id:7': id cannot be excluded"),
        ('"open quote', "'\"open': a quote is left open"),
        ('task:"open', "'task:\"open': a quote is left open"),
        ('"closed"too', "'\"closed\"too': a quote is left open or is followed by text"),
    ],
)
def test_a_term_that_cannot_be_read_is_named_with_what_is_allowed(where, said):
    with pytest.raises(SelectionError) as caught:
        parse_where(where)

    assert said in str(caught.value)
    assert "task, model, group, id, step, reward, ids" in str(caught.value.hint)


def test_every_bad_term_is_named():
    with pytest.raises(SelectionError) as caught:
        parse_where("modle:x good step:x reward:y")

    assert [part.split("'")[1] for part in str(caught.value).split("; ")] == [
        "modle:x",
        "step:x",
        "reward:y",
    ]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_selection_error(where):
    with contextlib.suppress(SelectionError):
        parse_where(where)


@given(st.lists(st.text(st.characters(exclude_characters='"\\'), min_size=1), max_size=4))
def test_quoted_text_is_searched_as_it_is(phrases):
    where = " ".join(f'"{phrase}"' for phrase in phrases)

    assert parse_where(where).words == tuple(phrases)


def test_a_negative_limit_or_sample_is_refused():
    with pytest.raises(SelectionError, match="limit -1 is negative"):
        Selection(limit=-1)
    with pytest.raises(SelectionError, match="sample -2 is negative"):
        Selection(sample=-2)


EXAMPLES = [
    rollout(
        0,
        task="sums",
        model="a",
        step=100,
        reward=0.0,
        completion="Wait, carry the ONE.",
        tokens=Tokens(array("i", [1]), exact=True),
    ),
    rollout(
        1,
        task="sums",
        model="b",
        step=120,
        reward=0.5,
        completion=r"100% of \frac{1}{2}_x",
        tokens=Tokens(array("i", [1]), exact=False),
    ),
    rollout(2, task="logic", model="a", step=200, reward=1.0, completion='He said "so".'),
    rollout(3, task="", model="", step=None, reward=None, completion="1000 of _"),
    rollout(
        4,
        group="g2",
        task="logic",
        model="b",
        step=201,
        reward=-1.0,
        prompt=(Message("system", "Carry on."), Message("user", "Why?")),
    ),
]


MEANINGS = {
    "": [0, 1, 2, 3, 4],
    "task:sums": [0, 1],
    "task:sums task:logic": [0, 1, 2, 4],
    "-task:sums": [2, 3, 4],
    "-task:sums -task:logic": [3],
    "model:a -task:logic": [0],
    "-model:a": [1, 3, 4],
    "group:g2": [4],
    "group:g": [],
    "id:00003": [3],
    "id:00001 id:00004g2": [1, 4],
    "id:0000": [0, 1, 2, 3, 4],
    "id:00004g1": [],
    "id:%": [],
    "step:120": [1],
    "step:100..200": [0, 1, 2],
    "step:121..": [2, 4],
    "step:..120": [0, 1],
    "reward:1": [2],
    "reward:<1": [0, 1, 4],
    "reward:>=0.5": [1, 2],
    "reward:>-1 reward:<=0.5": [0, 1],
    "ids:exact": [0],
    "ids:approximate": [1],
    "ids:none": [2, 3, 4],
    "ids:exact ids:none -task:logic": [0, 3],
    "CARRY": [0, 4],
    "carry one": [0],
    "-carry": [1, 2, 3],
    '"100%"': [1],
    "0_": [],
    '"\\frac{1}{2}_"': [1],
    r'"\"so\""': [2],
    "user": [],
    '"carry on"': [4],
    "task:x": [],
}
"""What to find with each text, as positions in ``EXAMPLES``."""


def test_a_selection_means_the_same_on_both_databases(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, EXAMPLES)

        def found(where):
            pages = list(iter_rollouts(session, parse_where(where), page=2))
            items = [item for page in pages for item in page]
            assert count_rollouts(session, parse_where(where)) == len(items)
            return [EXAMPLES.index(item) for item in items]

        assert {where: found(where) for where in MEANINGS} == MEANINGS


def test_text_that_no_database_holds_selects_nothing_and_fails_nowhere(store_engine):
    odd = "a\x00\ud800"
    selection = Selection(words=(odd,), tasks=(odd,), groups=(odd,), id_starts=(odd,), ids=(odd,))

    with transaction(store_engine) as session:
        assert count_rollouts(session, selection) == 0


def test_any_number_of_ids_can_be_asked_for(store_engine):
    wanted = tuple(f"absent{number}" for number in range(70_000))

    with transaction(store_engine) as session:
        add_rollouts(session, EXAMPLES)
        selection = Selection(ids=(EXAMPLES[3].id, *wanted, EXAMPLES[1].id))
        assert count_rollouts(session, selection) == 2
        pages = list(iter_rollouts(session, selection))

    assert pages == [[EXAMPLES[1], EXAMPLES[3]]]
