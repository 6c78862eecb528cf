from array import array
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from dca.domain.consensus import Status
from dca.domain.errors import NothingSelected, SelectionError
from dca.domain.rollout import Message, Tokens
from dca.domain.spans import Span
from store.consensus import add_consensus, add_version
from store.engine import transaction
from store.listing import RolloutLine, list_rollouts
from store.reviews import add_answers, add_reviewers
from store.rollouts import (
    Added,
    add_rollouts,
    count_rollouts,
    find_rollout,
    iter_groups,
    iter_rollouts,
    missing_ids,
)
from store.selection import Selection, parse_where
from tests.store_examples import (
    OTHER,
    REVIEWER,
    abstention,
    consensus,
    full_rollout,
    review,
    rollout,
    version,
)


@contextmanager
def counted_statements(engine):
    """Count what is sent to the database; the list holds the statements."""
    sent = []

    def note(_connection, _cursor, statement, *_rest):
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_every_field_of_a_rollout_comes_back(store_engine):
    whole = full_rollout()
    bare = rollout(1, prompt=(), reward=None, step=None, task="", model="")

    with transaction(store_engine) as session:
        assert add_rollouts(session, [whole, bare]) == Added(2, 0)
    with transaction(store_engine) as session:
        ((first, second),) = iter_rollouts(session, Selection())

    assert first == bare
    assert second == whole
    assert second.tokens.ids.typecode == "i"
    assert second.tokens.logprobs.typecode == "f"


def test_empty_arrays_are_not_missing_arrays(store_engine):
    tokens = Tokens(array("i"), exact=False, prompt_ids=array("i"), offsets=array("i"))

    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(1, tokens=tokens, think=Span(0, 0))])
        found = find_rollout(session, "00001")

    assert found.tokens == tokens
    assert found.think == Span(0, 0)


def test_what_postgresql_cannot_hold_is_escaped_on_both_databases(store_engine):
    odd = rollout(
        1,
        task="a\x00b",
        truth="\ud800",
        model="\x00",
        prompt=(Message("user", "x\x00y\udcff"), Message("user", "z")),
        meta={"note": "a\x00\ud800", "\x00": ["\udfff"]},
    )

    with transaction(store_engine) as session:
        add_rollouts(session, [odd])
        found = find_rollout(session, odd.id)

    assert (found.task, found.truth, found.model) == (r"a\x00b", r"\ud800", r"\x00")
    assert found.prompt == (Message("user", r"x\x00y\udcff"), Message("user", "z"))
    assert found.meta == odd.meta


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    completion=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1
    ),
    prompt=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))),
    reward=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_reward_come_back_exactly(store_engine, completion, prompt, reward):
    messages = tuple(Message("user", content) for content in prompt)
    item = rollout(1, completion=completion, prompt=messages, reward=reward)

    with transaction(store_engine) as session:
        add_rollouts(session, [item])
        assert find_rollout(session, item.id) == item
        # The next example has to find an empty store.
        session.rollback()


def test_adding_again_changes_nothing(store_engine):
    items = [rollout(number) for number in range(5)]

    with transaction(store_engine) as session:
        assert add_rollouts(session, items[:3]) == Added(3, 0)
        assert add_rollouts(session, items) == Added(2, 3)
        assert add_rollouts(session, items) == Added(0, 5)
        assert add_rollouts(session, []) == Added(0, 0)
        assert count_rollouts(session, Selection()) == 5


def test_a_rollout_with_the_same_id_and_other_content_is_a_conflict(store_engine):
    first = rollout(1)
    changes = (
        {"reward": 0.0},
        {"reward": None},
        {"rewards": {"exact": 1.0}},
        {"truth": "4"},
        {"completion": "another text"},
        {"think": Span(0, 1)},
        {"meta": {"source": "b"}},
        {"tokens": Tokens(array("i", [1]), exact=True)},
        {"prompt": (Message("user", "other"),)},
        {"group_id": "g2"},
    )

    with transaction(store_engine) as session:
        add_rollouts(session, [first])
        for number, changed in enumerate(changes, start=2):
            other = rollout(1, **{**changed, "id": first.id})
            assert add_rollouts(session, [rollout(number), other]) == Added(1, 0, (first.id,))
        assert find_rollout(session, first.id) == first


def test_a_change_of_one_log_probability_is_a_conflict(store_engine):
    def with_logprob(value):
        return rollout(1, tokens=Tokens(array("i", [1]), exact=True, logprobs=array("f", [value])))

    with transaction(store_engine) as session:
        add_rollouts(session, [with_logprob(-1.0)])
        assert add_rollouts(session, [with_logprob(-1.0)]).unchanged == 1
        assert len(add_rollouts(session, [with_logprob(-2.0)]).conflicts) == 1


def test_inside_a_batch_the_first_of_an_id_is_stored(store_engine):
    first, other = rollout(1), rollout(1, reward=0.0)

    with transaction(store_engine) as session:
        assert add_rollouts(session, [first, first, other]) == Added(1, 1, (first.id,))
        assert find_rollout(session, first.id).reward == 1.0


def test_a_reward_that_is_not_finite_is_refused(store_engine):
    with transaction(store_engine) as session:
        with pytest.raises(ValueError, match="a reward is not finite"):
            add_rollouts(session, [rollout(1, reward=float("nan"))])
        with pytest.raises(ValueError, match="a reward is not finite"):
            add_rollouts(session, [rollout(1, rewards={"x": float("inf")})])
        assert count_rollouts(session, Selection()) == 0


def grouped(sizes) -> list:
    """Return rollouts in groups of these sizes, in the order of pages."""
    return [
        rollout(number, group=f"g{group}")
        for group, size in enumerate(sizes)
        for number in range(size)
    ]


def test_pages_hold_every_rollout_once_in_order_wherever_they_break(store_engine):
    items = grouped([3, 1, 4, 2])

    with transaction(store_engine) as session:
        add_rollouts(session, items[::-1])
        for page in (1, 2, 3, 4, 7, 10, 11, 500):
            wanted = [items[start : start + page] for start in range(0, 10, page)]
            assert list(iter_rollouts(session, Selection(), page=page)) == wanted
            assert list(iter_rollouts(session, parse_where("-nothing"), page=page)) == wanted
            assert list(iter_rollouts(session, Selection(limit=10), page=page)) == wanted


def test_pages_are_ordered_by_bytes_on_both_databases(store_engine):
    groups = ["Z", "a", "É", "é", "ß", "_", "1", "10", "9", " "]
    items = [rollout(1, group=group) for group in groups]

    with transaction(store_engine) as session:
        add_rollouts(session, items)
        pages = list(iter_rollouts(session, Selection(), page=3))

    assert [item.group_id for part in pages for item in part] == sorted(groups, key=str.encode)


def test_a_group_is_never_split_over_pages_and_comes_whole(store_engine):
    items = grouped([3, 1, 4, 2])
    one, two, three, four = items[:3], items[3:4], items[4:8], items[8:]

    with transaction(store_engine) as session:
        add_rollouts(session, items)

        def pages(selection, page):
            return list(iter_groups(session, selection, page=page))

        everything, some = Selection(), parse_where("id:00002 id:00001g3")
        assert pages(everything, 1) == [[one], [two], [three], [four]]
        assert pages(everything, 2) == [[one, two], [three, four]]
        assert pages(everything, 3) == [[one, two, three], [four]]
        assert pages(everything, 50) == [[one, two, three, four]]
        assert pages(some, 2) == [[one, three], [four]]
        assert pages(Selection(limit=4), 1) == [[one], [two]]
        assert pages(Selection(ids=(four[1].id, one[1].id)), 50) == [[one, four]]


def test_rollouts_added_between_pages_do_not_disturb_them(store_engine):
    items = grouped([3, 3])

    with transaction(store_engine) as session:
        add_rollouts(session, items)
        pages = iter_rollouts(session, Selection(), page=2)
        found = next(pages)
        add_rollouts(session, [rollout(0, group="a"), rollout(9, group="g9")])
        found += [item for part in pages for item in part]

    assert found == [*items, rollout(9, group="g9")]


def test_limit_takes_the_first_and_sample_is_fixed_by_its_seed(store_engine):
    items = grouped([10] * 4)

    with transaction(store_engine) as session:
        add_rollouts(session, items)

        def chosen(**selection):
            pages = iter_rollouts(session, Selection(**selection), page=3)
            return [item for part in pages for item in part]

        sample = chosen(sample=12, seed=1)
        assert chosen(limit=3) == items[:3]
        assert chosen(limit=0) == chosen(sample=0) == []
        assert len(sample) == 12
        assert sample == [item for item in items if item in sample]
        assert chosen(sample=12, seed=1) == sample
        assert chosen(sample=12, seed=2) != sample
        assert chosen(sample=5, seed=1) == [
            item for item in sample if item in chosen(sample=5, seed=1)
        ]
        assert chosen(sample=12, seed=1, limit=5) == sample[:5]
        assert chosen(sample=99) == items
        assert chosen(sample=2, ids=(items[3].id, items[5].id, "none")) == [items[3], items[5]]
        assert count_rollouts(session, Selection(sample=12, limit=20)) == 12
        assert count_rollouts(session, Selection(limit=99)) == 40


def test_arrays_can_be_left_out(store_engine):
    whole = full_rollout()

    with transaction(store_engine) as session:
        add_rollouts(session, [whole])
        ((found,),) = iter_rollouts(session, Selection(), arrays=False)
        (((grouped_too,),),) = iter_groups(session, Selection(), arrays=False)

    assert found.tokens is None
    assert found.completion == whole.completion
    assert grouped_too == found


def test_a_rollout_is_found_by_the_start_of_its_id(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(1, id="abc"), rollout(2, id="abcd"), rollout(3, id="b%c")])
        assert find_rollout(session, "abcd").id == "abcd"
        assert find_rollout(session, "b").id == "b%c"
        assert find_rollout(session, "abc").id == "abc"
        with pytest.raises(SelectionError, match=r"several rollouts .* 'ab': abc, abcd$"):
            find_rollout(session, "ab")
        add_rollouts(session, [rollout(4, id="abce"), rollout(5, id="abcf")])
        with pytest.raises(SelectionError, match=r"'ab': abc, abcd, abce, \.\.\.$"):
            find_rollout(session, "ab")
        for absent in ("x", "b%%", "ABC"):
            with pytest.raises(NothingSelected, match=f"starts with '{absent}'"):
                find_rollout(session, absent)


def test_ids_that_are_not_stored_are_named(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, [rollout(1)])
        assert missing_ids(session, ["y", rollout(1).id, "x"]) == ("y", "x")


def test_lines_tell_how_far_each_rollout_is(store_engine):
    items = [full_rollout(), rollout(1, group="h"), rollout(2, group="h")]

    with transaction(store_engine) as session:
        add_rollouts(session, items)
        add_reviewers(session, [REVIEWER, OTHER])
        add_answers(session, [abstention(item) for item in items[1:]])
        add_answers(session, [abstention(items[1], OTHER), review(items[1])])
        for part in (items[:2], items[1:2]):
            number = add_version(session, version()).id
            add_consensus(session, number, [consensus(item) for item in part])
        lines = list_rollouts(session, Selection())
        pages = [list_rollouts(session, Selection(), limit=2)]
        pages.append(
            list_rollouts(session, Selection(), after=(pages[0][-1].group_id, pages[0][-1].id))
        )
        chosen = list_rollouts(session, Selection(ids=(items[2].id,)))
        limited = list_rollouts(session, Selection(limit=1))

    half = {Status.AGREED: 0.5, Status.DISPUTED: 0.5, Status.THIN: 0.0, Status.UNCOVERED: 0.0}
    assert lines[0] == RolloutLine(
        items[0].id, "group one", "sums", "policy-7b", 2**40, 0.5, 42, 3, 0, 0, 1, half
    )
    assert lines[1] == RolloutLine(
        items[1].id, "h", "sums", "policy", 10, 1.0, 27, None, 1, 1, 2, half
    )
    assert (lines[2].reviews, lines[2].abstentions) == (0, 1)
    assert (lines[2].consensus, lines[2].shares) == (None, None)
    assert pages == [lines[:2], lines[2:]]
    assert chosen == lines[2:]
    assert limited == lines[:1]


def test_the_number_of_statements_does_not_grow_with_the_rollouts(store_engine):
    items = grouped([5] * 20)
    with transaction(store_engine) as session:
        with counted_statements(store_engine) as sent:
            add_rollouts(session, items)
        assert len(sent) == 1
        with counted_statements(store_engine) as sent:
            add_rollouts(session, items)
        assert len(sent) == 2
        with counted_statements(store_engine) as sent:
            assert len(list(iter_rollouts(session, Selection(), page=40))) == 3
        assert len(sent) == 4  # three pages, and the one that is empty
        with counted_statements(store_engine) as sent:
            assert len(list(iter_groups(session, Selection(), page=10))) == 2
        assert len(sent) == 5  # names and rollouts of each page, and the empty page of names
        with counted_statements(store_engine) as sent:
            assert len(list_rollouts(session, Selection())) == 100
        assert len(sent) == 1
        with counted_statements(store_engine) as sent:
            assert len(list(iter_rollouts(session, Selection(sample=80), page=40))) == 2
        assert len(sent) == 6  # keys, keys of the sample, each with an empty page, and two pages
