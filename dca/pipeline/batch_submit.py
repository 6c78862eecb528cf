"""Submit: put what is pending in batches and give them to the provider."""

import secrets
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from dca.domain.errors import CredentialError, DcaError
from dca.domain.review import ReviewKey
from dca.domain.rollout import Rollout
from dca.pipeline.batch_office import Office, Post
from dca.pipeline.dialogues import Ask, ask_of, resume
from reviewers.batches.lines import CustomId, request_line
from reviewers.batches.service import RequestFile, request_file
from reviewers.budget import Cost, Verdict
from reviewers.protocol import review_key
from store.batches import Batch, BatchItem, add_batch, change_batch, finish_batch
from store.claims import claim, release, release_job
from store.engine import transaction, transactions
from store.replies import common_dialogues, drop_replies, replies_of
from store.reviews import add_answers, pending
from store.selection import Selection

PAGE = 64
"""Rollouts read and claimed at once."""
ID_BYTES = 6
"""Random bytes in a batch's id."""


@dataclass(slots=True)
class Pack:
    """Requests that are about to become a batch."""

    id: str
    file: RequestFile
    items: list[BatchItem] = field(default_factory=list[BatchItem])
    claims: list[str] = field(default_factory=list[str])
    worst: Cost = field(default_factory=Cost)

    def take(self, post: Post, ask: Ask) -> bool:
        """Put one request in; return False when the provider would refuse so much at once."""
        custom_id = CustomId(ask.dialogue, ask.turn, self.id)
        line = request_line(post.reviewer.dialect, custom_id, ask.body)
        limits = replace(post.service.limits, requests=post.most)
        if self.items and not self.file.fits(line, limits):
            return False
        self.file.add(line)
        ids = tuple(rollout.id for rollout in ask.rollouts)
        self.items.append(BatchItem(ask.dialogue, ask.turn, ask.tries, len(ask.body), ids))
        self.claims.extend(review_key(post.reviewer, rollout).id for rollout in ask.rollouts)
        self.worst = self.worst + post.worst(len(ask.body))
        return True


def submit_pending(office: Office, post: Post) -> int:
    """Submit every pending review of a model in batches; return how many requests those are.

    Nothing is submitted whose worst case the budget has no room for.

    Raises:
        CredentialError: The key was refused.
    """
    post.full = ""
    sent = 0
    try:
        with closing(_packs(office, post)) as packs:
            for pack in packs:
                sent += _submit(office, post, pack)
                if post.full or post.stopped:
                    break
    finally:
        # What was claimed and is in no batch after all.
        with transaction(office.engine) as session:
            release_job(session, office.job)
    return sent


def _packs(office: Office, post: Post) -> Generator[Pack, None, None]:
    """Yield packs as big as the provider takes them; a pack's file is gone after it."""
    with closing(_asks(office, post)) as asks:
        ask = _reserved(office, post, asks)
        try:
            while ask is not None:
                with request_file(post.service.frame) as file:
                    pack = Pack(secrets.token_hex(ID_BYTES), file)
                    while ask is not None and pack.take(post, ask):
                        ask = _reserved(office, post, asks)
                    yield pack
        finally:
            if ask is not None:
                office.budget.settle(post.worst(len(ask.body)), Cost())


def _reserved(office: Office, post: Post, asks: Iterator[Ask]) -> Ask | None:
    """Return the next request with its worst case set aside, ``None`` when there is none."""
    ask = next(asks, None)
    if ask is None:
        return None
    worst = post.worst(len(ask.body))
    verdict = office.budget.reserve(worst)
    if verdict is Verdict.GRANTED:
        return ask
    if verdict is Verdict.NEVER and not office.over:
        budget = office.budget
        office.over = budget.caps.crossed(budget.spent + worst)
        office.note(f"{post.name}: the budget has no room for one more request")
    return None


def _asks(office: Office, post: Post) -> Generator[Ask, None, None]:
    """Yield the next question of every dialogue that is pending, its reviews claimed."""
    busy: set[str] = set()
    """Reviews that an open dialogue about several rollouts asks for."""
    with transactions(office.engine) as session:
        for rollouts in _begun_together(session, office, post, busy):
            yield from _ask(session, office, post, rollouts)
        bundle: list[Rollout] = []
        for rollout in _claimed(session, office, post, busy):
            if bundle and (
                len(bundle) == post.reviewer.bundle or bundle[0].group_id != rollout.group_id
            ):
                yield from _ask(session, office, post, bundle)
                bundle = []
            bundle.append(rollout)
        if bundle:
            yield from _ask(session, office, post, bundle)


def _ask(session: Session, office: Office, post: Post, rollouts: list[Rollout]) -> Iterator[Ask]:
    """Yield the question at which a dialogue stands; store its answers if it has none."""
    first = review_key(post.reviewer, rollouts[0]).id
    standing = resume(post.reviewer, rollouts, replies_of(session, [first]).get(first, ()))
    session.commit()
    answers = standing.course.answers
    if answers is None:
        yield ask_of(post.reviewer, rollouts, standing)
        return
    add_answers(session, answers)
    release(session, (answer.key.id for answer in answers))
    session.commit()
    office.count(answers)


def _claimed(session: Session, office: Office, post: Post, busy: set[str]) -> Iterator[Rollout]:
    """Yield the pending rollouts of a model whose reviews this run now holds."""
    pages = pending(session, *_asked(post), office.selection, page=PAGE, retry_failed=office.again)
    for page in pages:
        fresh = {
            id_: rollout
            for rollout in page
            if (id_ := review_key(post.reviewer, rollout).id) not in busy
            and id_ not in office.concluded
        }
        granted = claim(session, office.job, list(fresh), again=office.again)
        session.commit()
        yield from (rollout for id_, rollout in fresh.items() if id_ in granted)


def _begun_together(
    session: Session, office: Office, post: Post, busy: set[str]
) -> Iterator[list[Rollout]]:
    """Yield the rollouts of each dialogue about several that has begun; none is asked otherwise.

    One goes on only where all its rollouts are selected. It is dropped when one of them has been
    answered otherwise: the rest is then asked anew.
    """
    for dialogue, members in common_dialogues(session, post.asker):
        alone = Selection(ids=members)
        if len(_pending(session, office, post, alone)) < len(members):
            drop_replies(session, [dialogue])
            session.commit()
            continue
        chosen = office.selection.ids
        wanted = tuple(id_ for id_ in members if chosen is None or id_ in chosen)
        selection = replace(office.selection, ids=wanted, limit=None, sample=None)
        found = _pending(session, office, post, selection)
        keys = sorted(review_key(post.reviewer, rollout).id for rollout in found.values())
        busy.update(ReviewKey(id_, *_asked(post)).id for id_ in members)
        if len(found) < len(members) or not office.concluded.isdisjoint(keys):
            continue
        granted = claim(session, office.job, keys, again=office.again)
        if len(granted) < len(keys):
            release(session, granted)
        session.commit()
        if len(granted) == len(keys):
            yield [found[id_] for id_ in members]


def _pending(
    session: Session, office: Office, post: Post, selection: Selection
) -> dict[str, Rollout]:
    """Return the pending rollouts of a small selection by id."""
    pages = pending(session, *_asked(post), selection, retry_failed=office.again)
    return {rollout.id: rollout for page in pages for rollout in page}


def _asked(post: Post) -> tuple[str, str, str, int]:
    """Return what the keys of a model's reviews share."""
    return post.asker.reviewer, post.asker.prompt, post.asker.label_set, 1


def _submit(office: Office, post: Post, pack: Pack) -> int:
    """Write a batch down and submit it; return how many requests the provider may have now.

    Raises:
        CredentialError: The key was refused.
    """
    worst = pack.worst.nanodollars, pack.worst.tokens
    office.set_aside.add(pack.id)
    with transaction(office.engine) as session:
        batch = add_batch(
            session, pack.id, post.asker, pack.items, pack.claims, run=office.job, worst=worst
        )
    try:
        sent = post.service.submit(pack.id, pack.file)
    except DcaError as error:
        post.stopped = str(error)
        _take_back(office, batch, pack.worst, str(error))
        office.note(f"{post.name}: nothing more is submitted: {error}")
        if isinstance(error, CredentialError):
            raise
        return 0
    if sent.full:
        post.full = sent.full
        _take_back(office, batch, pack.worst, sent.full)
        office.note(f"{post.name}: the provider's queue is full; what is left waits")
        return 0
    if sent.remote is None:
        office.note(f"{post.name}: nobody knows whether batch {pack.id} arrived; it is looked for")
    else:
        with transaction(office.engine) as session:
            change_batch(session, batch.id, "open", remote=sent.remote)
        office.note(f"{post.name}: submitted batch {sent.remote}, {len(pack.items):,} requests")
    return len(pack.items)


def _take_back(office: Office, batch: Batch, worst: Cost, message: str) -> None:
    """End a batch that the provider certainly does not have."""
    with transaction(office.engine) as session:
        finish_batch(session, batch, "unsent", message=message)
    office.budget.settle(worst, Cost())
