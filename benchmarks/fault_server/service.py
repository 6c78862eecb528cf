"""Answer requests for one review: keys, limits, the plan's faults, the books."""

import dataclasses
import math
import time

from benchmarks.fault_server import replies
from benchmarks.fault_server.answers import Said, Stop, Tokens, write_answer, write_error
from benchmarks.fault_server.asks import Ask, BadRequestError, Dialect, count_tokens, read_ask
from benchmarks.fault_server.exchange import Answer, Call, Mode, Request
from benchmarks.fault_server.ledger import Ledger
from benchmarks.fault_server.limits import Limiter
from benchmarks.fault_server.plan import FINAL, UNPAID, Draw, Fault
from benchmarks.fault_server.settings import Settings

_EFFORTS = {"low": 200, "medium": 600, "high": 1500, "xhigh": 3000, "max": 3000}
"""Hidden reasoning tokens for each effort, before the factor of the draw."""

_TAILED = 300
"""The same where no effort is given and lengths vary."""

_PAGE = b"<!doctype html><title>Gateway</title><p>The service is being updated.</p>"
_HUGE_HEAD = b'{"id":"x","content":[{"type":"text","text":"'

_STOPS = {
    Fault.REFUSAL: Stop.REFUSAL,
    Fault.CONTENT_FILTER: Stop.FILTER,
    Fault.LENGTH: Stop.LENGTH,
}
_SPOILED = {
    Fault.CUT_JSON: replies.cut_json,
    Fault.BAD_SCHEMA: replies.change_shape,
    Fault.FENCED: replies.fence,
    Fault.LENGTH: replies.cut_json,
    **dict.fromkeys(FINAL, replies.apologise),
}
_MODES = {
    Fault.RESET: Mode.RESET,
    Fault.CUT_BODY: Mode.CUT,
    Fault.HANG: Mode.HANG,
    Fault.DRIP: Mode.DRIP,
}
_WITHOUT_REPLY = UNPAID - {Fault.CUT_BODY, Fault.DRIP}
_STATUSES = {Fault.OVERLOADED: 503, Fault.LIMITED: 429, Fault.LIMITED_BARE: 429}


class Service:
    """The state of one provider."""

    def __init__(self, settings: Settings) -> None:
        """Begin with empty books."""
        self.settings = settings
        self.ledger = Ledger(settings.plan)
        self._forms: dict[bytes | str, replies.Form | None] = {}
        self._limiters: dict[tuple[str, str], Limiter] = {}
        self._key_uses: dict[str, int] = {}
        self._cached: set[bytes] = set()
        self._number = 0

    def refuse_key(self, request: Request) -> Answer | None:
        """Return the refusal of a key that is missing, wrong or used up, else ``None``."""
        key, settings = request.key, self.settings
        uses = self._key_uses[key] = self._key_uses.get(key, 0) + 1
        expired = 0 < settings.key_requests < uses
        if key and settings.key in (None, key) and not expired:
            return None
        self.ledger.totals.unauthorised += 1
        reason = "API key has expired" if expired else "Incorrect API key provided"
        # Real services repeat the key, or most of it: clients must not write this anywhere.
        return self.error(request, 401, f"{reason}: {key}")

    def error(
        self, request: Request, status: int, message: str, *, code: str | None = None
    ) -> Answer:
        """Return an error in the dialect of ``request``."""
        return Answer(status, write_error(status, message, anthropic=request.anthropic, code=code))

    def answer(self, request: Request, dialect: Dialect) -> Answer:
        """Answer one request for one review."""
        try:
            ask = read_ask(dialect, request.body)
        except BadRequestError as error:
            self.ledger.totals.bad_requests += 1
            return self.error(request, 400, str(error))
        if dialect is Dialect.MESSAGES and (ask.limit is None or not request.anthropic):
            self.ledger.totals.bad_requests += 1
            body = write_error(400, "max_tokens or anthropic-version is missing", anthropic=True)
            return Answer(400, body)
        now = time.monotonic()
        record = self.ledger.record(ask.item)
        self.ledger.begin(record, now)
        limiter = self._limiter(request.key, ask.model)
        call = Call(record, ask, limiter)
        refusal = self.refuse_key(request)
        if refusal is not None:
            return dataclasses.replace(refusal, call=call)
        cached, written = self._caching(ask)
        wait = limiter.admit(self.settings.limits.charge(ask, cached), now)
        headers = limiter.headers(anthropic=request.anthropic) + self._request_id(request)
        if wait > 0:
            return self._too_soon(call, wait, headers)
        return self._attempt(request, call, headers, (cached, written))

    def _attempt(
        self, request: Request, call: Call, headers: bytes, caching: tuple[int, int]
    ) -> Answer:
        """Return what the plan has for the next attempt."""
        ask, record = call.ask, call.record
        draw = self.settings.plan.draw(ask.item, record.attempts + 1)
        fault = draw.fault
        if fault is not None and fault in _WITHOUT_REPLY:
            self.ledger.attempt(ask.item, record, fault)
            return self._broken(request, call, fault, headers, draw.latency_s)
        said, review, fault = self._say(ask, draw, caching)
        self.ledger.attempt(ask.item, record, fault)
        paid = None if fault in UNPAID else said.tokens
        return Answer(
            200,
            write_answer(ask, said, self._number),
            headers,
            delay_s=draw.latency_s,
            mode=_MODES.get(fault, Mode.WHOLE) if fault else Mode.WHOLE,
            call=Call(record, ask, call.limiter, fault, paid, review),
        )

    def settle(self, ask: Ask) -> tuple[int, bytes]:
        """Answer one request of a batch and book it; return status and body."""
        record = self.ledger.record(ask.item)
        draw = self.settings.plan.draw(ask.item, record.attempts + 1)
        anthropic = ask.dialect is Dialect.MESSAGES
        if draw.fault in UNPAID:
            self.ledger.attempt(ask.item, record, draw.fault)
            status = self._status(draw.fault, anthropic) if draw.fault else 500
            return status, write_error(status, "the request failed", anthropic=anthropic)
        said, review, fault = self._say(ask, draw, self._caching(ask))
        self._number += 1
        self.ledger.attempt(ask.item, record, fault)
        self.ledger.pay(record, said.tokens, fault, review)
        self._cached.update(prefix.digest for prefix in ask.prefixes)
        return 200, write_answer(ask, said, self._number)

    def finish(self, call: Call, *, delivered: bool) -> None:
        """Book the end of a request for one answer."""
        self.ledger.open -= 1
        if not delivered:
            self.ledger.totals.abandoned += 1
            return
        if call.retry_s:
            call.record.not_before = time.monotonic() + call.retry_s
        if call.tokens is not None:
            self.ledger.pay(call.record, call.tokens, call.fault, call.review)
            call.limiter.settle(call.tokens.output)
            self._cached.update(prefix.digest for prefix in call.ask.prefixes)

    def _limiter(self, key: str, model: str) -> Limiter:
        found = self._limiters.get((key, model))
        if found is None:
            found = self._limiters[(key, model)] = Limiter(self.settings.limits)
        return found

    def _request_id(self, request: Request) -> bytes:
        self._number += 1
        name = b"request-id" if request.anthropic else b"x-request-id"
        return b"%b: req_%d\r\n" % (name, self._number)

    def _caching(self, ask: Ask) -> tuple[int, int]:
        """Return the input tokens that the cache gives and takes."""
        if not ask.prefixes:
            return 0, 0
        known = (prefix.tokens for prefix in ask.prefixes if prefix.digest in self._cached)
        cached = max(known, default=0)
        written = ask.prefixes[-1].tokens - cached if ask.dialect is Dialect.MESSAGES else 0
        return cached, written

    def _too_soon(self, call: Call, wait: float, headers: bytes) -> Answer:
        """Return the 429 of a rate limit."""
        call.record.limited += 1
        self.ledger.totals.limited += 1
        anthropic = call.ask.dialect is Dialect.MESSAGES
        told = b"retry-after: %d\r\n" % math.ceil(wait)
        held = math.ceil(wait)
        if not anthropic:
            told += b"retry-after-ms: %d\r\n" % math.ceil(wait * 1000)
            held = wait
        body = write_error(429, "Rate limit reached", anthropic=anthropic)
        return Answer(429, body, headers + told, call=dataclasses.replace(call, retry_s=held))

    def _say(
        self, ask: Ask, draw: Draw, caching: tuple[int, int]
    ) -> tuple[Said, str, Fault | None]:
        """Return the answer, the review in it, and what is wrong with it."""
        fault = draw.fault
        form = self._form(ask)
        variety = int.from_bytes(ask.item, "big")
        misplaced = fault is Fault.BAD_UNITS
        review = replies.write_reply(form, ask.user, variety, misplaced=misplaced)
        spoil = _SPOILED.get(fault) if fault else None
        text = spoil(review) if spoil else review
        stop = _STOPS.get(fault, Stop.DONE) if fault else Stop.DONE
        said = self._spend(ask, draw, text, stop, caching)
        stopped = said.stop is Stop.LENGTH and fault not in UNPAID
        return said, review, Fault.LENGTH if stopped else fault

    def _spend(
        self, ask: Ask, draw: Draw, text: str, stop: Stop, caching: tuple[int, int]
    ) -> Said:
        """Return the answer within its limit of output tokens, with what it is billed for."""
        varied = _TAILED if self.settings.plan.tail else 0
        hidden = int(_EFFORTS.get(ask.effort or "", varied) * draw.size)
        limit = ask.limit
        if limit is not None:
            hidden = min(hidden, limit)
            if count_tokens(text) > limit - hidden:
                text, stop = text[: 4 * (limit - hidden)], Stop.LENGTH
            if stop is Stop.LENGTH:
                # What stops at the limit has used all of it.
                hidden = limit - count_tokens(text)
        tokens = Tokens(ask.tokens, *caching, hidden + count_tokens(text), hidden)
        return Said(text, stop, tokens)

    def _form(self, ask: Ask) -> replies.Form | None:
        told = ask.schema or ask.system
        if told not in self._forms:
            self._forms[told] = replies.read_form(ask.schema, ask.system)
        return self._forms[told]

    def _status(self, fault: Fault, anthropic: bool) -> int:
        status = _STATUSES.get(fault, 500)
        return 529 if anthropic and status == 503 else status

    def _broken(
        self, request: Request, call: Call, fault: Fault, headers: bytes, delay: float
    ) -> Answer:
        """Return an attempt that delivers no answer."""
        call = dataclasses.replace(call, fault=fault)
        match fault:
            case Fault.HTML:
                return Answer(200, _PAGE, headers, b"text/html", delay, call=call)
            case Fault.HUGE:
                return Answer(200, _HUGE_HEAD, headers, delay_s=delay, mode=Mode.HUGE, call=call)
            case Fault.RESET | Fault.HANG:
                return Answer(200, b"", delay_s=delay, mode=_MODES[fault], call=call)
            case Fault.REDIRECT:
                line = b"location: /moved%b\r\n" % request.target.encode()
                return Answer(301, b"", headers + line, delay_s=delay, call=call)
            case Fault.REDIRECT_AWAY:
                line = _away(request)
                return Answer(307, b"", headers + line, delay_s=delay, call=call)
            case _:
                return self._failed(call, fault, headers, delay)

    def _failed(self, call: Call, fault: Fault, headers: bytes, delay: float) -> Answer:
        """Return an error with its status."""
        anthropic = call.ask.dialect is Dialect.MESSAGES
        status = self._status(fault, anthropic)
        if fault is Fault.LIMITED:
            held = self.settings.retry_after_s
            headers += b"retry-after: %b\r\n" % f"{held:g}".encode()
            call = dataclasses.replace(call, retry_s=held)
        body = write_error(status, f"drawn: {fault.value}", anthropic=anthropic)
        return Answer(status, body, headers, delay_s=delay, call=call)


def _away(request: Request) -> bytes:
    """Return the line that points to the same server under another name."""
    host, _, port = request.header(b"host").partition(":")
    other = "localhost" if host == "127.0.0.1" else "127.0.0.1"
    return f"location: http://{other}:{port}/away{request.target}\r\n".encode()
