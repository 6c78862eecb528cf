from array import array
from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from dca.domain.consensus import AgreedSpan, Consensus, ConsensusParams, Status
from dca.domain.errors import NothingSelected
from dca.domain.spans import Span
from store.consensus import (
    add_consensus,
    add_version,
    consensus_of,
    find_version,
    get_version,
    latest_version,
    list_versions,
    seal_version,
    version_digest,
)
from store.engine import transaction
from store.jobs import LOST_AFTER, finish_job, list_jobs, start_job, update_job
from store.rollouts import add_rollouts
from store.scores import (
    CreditRun,
    TokenScores,
    add_credit_run,
    add_scores,
    latest_credit_run,
    list_credit_runs,
    scores_of,
)
from store.tables import JobRow
from tests.store_examples import consensus, rollout, version

ITEMS = [rollout(number) for number in range(3)]
IDS = [item.id for item in ITEMS]


@pytest.fixture
def session(store_engine):
    """A session on a store with three rollouts."""
    with transaction(store_engine) as opened:
        add_rollouts(opened, ITEMS)
        yield opened


def test_versions_are_numbered_and_come_back(session):
    first = add_version(session, version())
    second = add_version(session, version(label_set="other", agreement={}, weights={}))

    assert (first.id, second.id) == (1, 2)
    assert replace(first, id=0, created="") == version()
    assert first.created.endswith("+00:00")
    assert get_version(session, 1) == first
    assert list_versions(session) == [second, first]
    assert latest_version(session) == second
    assert latest_version(session, "contribution-v1") == first
    assert latest_version(session, "none") is None
    with pytest.raises(NothingSelected, match="no consensus version 3"):
        get_version(session, 3)


def test_a_version_is_sealed_with_its_results_only(session):
    begun = add_version(
        session, version(n_eff=1.0, rollouts=0, shares={}, agreement={}), inputs="a"
    )
    done = version(id=begun.id, created=begun.created, params=ConsensusParams(quorum=0.9))

    seal_version(session, done)
    session.expire_all()

    assert get_version(session, begun.id) == replace(done, params=begun.params)
    assert find_version(session, version(), inputs="a") == get_version(session, begun.id)


def test_an_identical_re_run_is_recognised(session):
    first = add_version(session, version(), inputs="a")

    assert find_version(session, version(n_eff=0.0, rollouts=0, shares={}), inputs="a") == first
    assert find_version(session, version(), inputs="b") is None
    assert find_version(session, version(params=ConsensusParams(quorum=0.9)), inputs="a") is None
    again = add_version(session, version(), inputs="a")
    assert find_version(session, version(), inputs="a") == again


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "weighted"},
        {"label_set": "other"},
        {"reviewers": {"alpha": "d"}},
        {"weights": {"alpha": 0.9}},
        {"dca_version": "0.2.0"},
        {"params": ConsensusParams(margin=0.1)},
    ],
)
def test_the_digest_of_a_version_covers_what_decides_it(changed):
    assert version_digest(version(**changed), "a") != version_digest(version(), "a")
    assert version_digest(version(n_eff=9.0, agreement={}), "a") == version_digest(version(), "a")


def test_every_field_of_a_consensus_comes_back(session):
    whole = consensus(ITEMS[0])
    uncovered = AgreedSpan(Span(0, 4), Status.UNCOVERED, None, 0.0, {}, {}, 1.0, 1.0)
    bare = Consensus(IDS[1], (uncovered,))
    no_verdict = replace(
        consensus(ITEMS[2]),
        blame=replace(whole.blame, status=Status.THIN, span=None),
        soundness=replace(whole.soundness, status=Status.DISPUTED, verdict=None),
    )
    number = add_version(session, version()).id

    assert add_consensus(session, number, [no_verdict, whole, bare]) == 3

    assert consensus_of(session, number, IDS) == {
        IDS[0]: whole,
        IDS[1]: bare,
        IDS[2]: no_verdict,
    }
    assert consensus_of(session, number, IDS[1:2]) == {IDS[1]: bare}
    assert consensus_of(session, number + 1, IDS) == {}


def test_a_stored_consensus_never_changes(session):
    number = add_version(session, version()).id
    add_consensus(session, number, [consensus(ITEMS[0])])

    changed = replace(consensus(ITEMS[0]), links=())
    assert add_consensus(session, number, [changed, consensus(ITEMS[1])]) == 1

    assert consensus_of(session, number, IDS[:1]) == {IDS[0]: consensus(ITEMS[0])}


def test_names_with_odd_characters_come_back(session):
    odd = "a\x00\ud800"
    given = consensus(ITEMS[0])
    spans = (replace(given.spans[0], votes={odd: odd}, shares={odd: 1.0}), *given.spans[1:])
    number = add_version(session, version(panel=(odd,), weights={odd: 1.0})).id

    add_consensus(session, number, [replace(given, spans=spans)])

    assert consensus_of(session, number, IDS)[IDS[0]].spans == spans
    assert get_version(session, number).panel == (odd,)


def test_a_consensus_needs_its_version(store_engine):
    with transaction(store_engine) as session:
        add_rollouts(session, ITEMS)
    with pytest.raises(IntegrityError), transaction(store_engine) as session:
        add_consensus(session, 7, [consensus(ITEMS[0])])


def test_consensus_is_written_and_read_in_one_statement_each(session, store_engine):
    number = add_version(session, version()).id
    sent = []
    event.listen(store_engine, "before_cursor_execute", lambda *call: sent.append(call[2]))

    add_consensus(session, number, [consensus(item) for item in ITEMS])
    consensus_of(session, number, IDS)

    assert len(sent) == 2


@pytest.mark.parametrize(
    "values",
    [
        array("f", [0.5, -1.25]),
        array("d", [0.1]),
        array("i", [-(2**31), 7]),
        array("b", [-1, 0, 1]),
        array("f"),
    ],
)
def test_scores_come_back_with_their_type(session, values):
    given = TokenScores(IDS[0], "credit:deliberative:weight", "v1", values, {"cap": 4})

    add_scores(session, [given])
    (found,) = scores_of(session, IDS, given.name, "v1").values()

    assert found == given
    assert found.values.typecode == values.typecode


def test_scores_of_the_same_name_and_source_are_replaced(session):
    first = TokenScores(IDS[0], "credit", "v1", array("f", [1.0]))
    other = TokenScores(IDS[0], "credit", "v2", array("f", [2.0]))
    add_scores(session, [first, other])
    add_scores(session, [])

    changed = TokenScores(IDS[0], "credit", "v1", array("b", [3]), {"x": 1})
    add_scores(session, [changed, TokenScores(IDS[1], "credit", "v1", array("f"))])

    assert scores_of(session, IDS[:1], "credit", "v1") == {IDS[0]: changed}
    assert scores_of(session, IDS, "credit", "v2") == {IDS[0]: other}
    assert list(scores_of(session, IDS, "credit", "v1")) == IDS[:2]
    assert scores_of(session, IDS, "weight", "v1") == {}


def test_scores_of_another_type_are_refused(session):
    with pytest.raises(ValueError, match="typecode 'q' is none of b, i, f, d"):
        add_scores(session, [TokenScores(IDS[0], "x", "", array("q", [1]))])


def test_credit_runs_come_back_newest_first(session):
    number = add_version(session, version()).id
    first = add_credit_run(session, CreditRun("grpo", {}, None, "contribution-v1"))
    second = add_credit_run(
        session, CreditRun("deliberative", {"cap": 4.0}, number, "contribution-v1", {"vetoed": 2})
    )

    assert (first.id, second.id) == (1, 2)
    assert (second.params, second.summary) == ({"cap": 4.0}, {"vetoed": 2})
    assert list_credit_runs(session) == [second, first]
    assert list_credit_runs(session, limit=1) == [second]
    assert latest_credit_run(session) == second
    assert latest_credit_run(session, "grpo") == first
    assert latest_credit_run(session, "uniform") is None


def test_a_job_tells_how_far_it_is_and_how_it_ended(session):
    number = start_job(session, "review", {"panel": "main"}, total=10)
    (begun,) = list_jobs(session)
    update_job(session, number, done=4, counts={"reviews": 4})
    update_job(session, number)
    session.expire_all()
    (going,) = list_jobs(session)
    finish_job(session, number, "partial", counts={"reviews": 5}, message="1 failed: \x00\ud800")
    session.expire_all()
    (ended,) = list_jobs(session)

    assert (begun.kind, begun.params, begun.total) == ("review", {"panel": "main"}, 10)
    assert (begun.status, begun.done, begun.counts, begun.finished) == ("running", 0, {}, None)
    assert begun.heartbeat == begun.created
    assert (going.status, going.done, going.counts) == ("running", 4, {"reviews": 4})
    assert going.heartbeat > begun.heartbeat
    assert (ended.status, ended.done, ended.counts) == ("partial", 4, {"reviews": 5})
    assert ended.message == r"1 failed: \x00\ud800"
    assert ended.finished >= going.heartbeat


def test_a_running_job_that_is_silent_is_lost_until_it_speaks_again(session):
    silent, ended = start_job(session, "review", {}), start_job(session, "import", {})
    finish_job(session, ended, "done")
    for number in (silent, ended):
        session.get(JobRow, number).heartbeat = "2020-01-01T00:00:00.000000+00:00"
    session.flush()

    assert [job.status for job in list_jobs(session)] == ["done", "lost"]
    assert [job.id for job in list_jobs(session, limit=1)] == [ended]

    update_job(session, silent, total=3)
    session.expire_all()

    assert [(job.status, job.total) for job in list_jobs(session)] == [
        ("done", None),
        ("running", 3),
    ]
    assert LOST_AFTER == 120
