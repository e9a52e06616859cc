"""Leave alone what keeps failing: a circuit breaker for each (service, model, region), in Redis.

All processes share one state, kept by scripts that run whole and read the server's clock. A target
that fails too often is not called for a while (open); then one call may try (half-open), and what
becomes of it decides. Throttling is no failure: it only limits the rate, by pauses that double.
While Redis cannot be asked every breaker counts as closed: a model that may be down costs less than
asking none.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from awsai.ports import Trouble
from incidentops.realtime import background

logger = logging.getLogger(__name__)

# How long a call may wait for Redis, and how long not to ask a Redis that failed.
TIMEOUT = timedelta(milliseconds=250)
BLIND = timedelta(seconds=2)
# How long a process goes by what it last heard of a breaker that was closed.
LATELY = timedelta(milliseconds=200)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is called: a model or profile of a service in a region."""

    service: str
    model: str = ""
    region: str = ""

    def __str__(self) -> str:
        return "|".join((self.service, self.model, self.region))


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    # Open for long enough: one call may try.
    HALF_OPEN = "half_open"
    # Throttled: nothing is broken, but the next call must wait.
    LIMITED = "limited"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a breaker opens and for how long. All durations are milliseconds.

    `probe_ms` is how long a trying call keeps others away when it never reports back.
    """

    window_ms: int = 30_000
    min_failures: int = 5
    failing_percent: int = 50
    open_ms: int = 30_000
    min_denied: int = 3
    denied_ms: int = 600_000
    probe_ms: int = 90_000
    pause_ms: int = 500
    max_pause_ms: int = 30_000


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A breaker as it stands; `retry_after` says when the next call may be admitted.

    `calls` and `failures` are those of the window. `is_known` is False while Redis is away.
    """

    target: Target
    state: State = State.CLOSED
    reason: str = ""
    retry_after: timedelta = timedelta(0)
    calls: int = 0
    failures: int = 0
    denied: int = 0
    is_known: bool = True

    @property
    def is_open(self) -> bool:
        """Whether a call would be refused now."""
        return self.state in (State.OPEN, State.LIMITED)


# KEYS: the set of all names, then of each breaker its hash, its calls and its failures (sorted sets
# by time). ARGV: the verb, the breaker's name for that set, how many calls went so, the rules. A
# half-open breaker is one whose `until` has passed and was not cleared.
_SCRIPT = """
local verb, name, times = ARGV[1], ARGV[2], tonumber(ARGV[3])
local rule = {}
for i = 4, #ARGV do rule[i - 3] = tonumber(ARGV[i]) end
local window, min_failures, percent, open_ms, min_denied, denied_ms, probe_ms, pause_ms, max_pause_ms =
  unpack(rule)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function apply(breaker, calls, failures)
  local function get(field) return tonumber(redis.call('HGET', breaker, field) or 0) end
  local function set(...) redis.call('HSET', breaker, ...) end
  local function is_half_open() return get('until') > 0 and get('until') <= now end

  local function state()
    local open_until, pause_until, probe_until = get('until'), get('pause_until'), get('probe_until')
    local reason = redis.call('HGET', breaker, 'reason') or ''
    if open_until > now then return 'open', open_until - now, reason end
    if pause_until > now then return 'limited', pause_until - now, 'throttled' end
    if open_until == 0 then return 'closed', 0, '' end
    if probe_until > now then return 'open', probe_until - now, 'probing' end
    return 'half_open', 0, reason
  end

  local function open(ms, reason)
    set('until', now + ms, 'reason', reason, 'denied', 0, 'probe_until', 0)
    redis.call('DEL', calls, failures)
  end

  local function count(is_failure)
    local last = redis.call('HINCRBY', breaker, 'n', times)
    for n = last - times + 1, last do
      redis.call('ZADD', calls, now, n)
      if is_failure then redis.call('ZADD', failures, now, n) end
    end
    for _, key in ipairs({calls, failures}) do
      redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
      redis.call('PEXPIRE', key, window)
    end
  end

  local verbs = {}
  function verbs.ok()
    count(false)
    set('denied', 0, 'pauses', 0)
    -- A call that began before the breaker opened does not close it.
    if is_half_open() then set('until', 0, 'probe_until', 0) end
  end
  function verbs.ours()
    set('probe_until', 0)
  end
  function verbs.throttled()
    set('denied', 0, 'probe_until', 0)
    -- The answers of one burst are one refusal; after a quiet time the pauses start anew.
    local last = get('pause_until')
    if last > now then return end
    local n = now - last > 2 * max_pause_ms and 0 or get('pauses')
    set('pauses', n + 1, 'pause_until', now + math.min(pause_ms * 2 ^ n, max_pause_ms))
  end
  function verbs.denied()
    count(false)
    local n = redis.call('HINCRBY', breaker, 'denied', 1)
    if is_half_open() or get('until') == 0 and n >= min_denied then open(denied_ms, 'denied') end
  end
  function verbs.failed()
    count(true)
    set('denied', 0)
    local bad, all = redis.call('ZCARD', failures), redis.call('ZCARD', calls)
    local is_failing = bad >= min_failures and bad * 100 >= percent * all
    if is_half_open() or get('until') == 0 and is_failing then open(open_ms, 'failing') end
  end

  local found, wait, reason = state()
  if verb == 'admit' and found == 'half_open' then
    set('probe_until', now + probe_ms)
  elseif verbs[verb] then
    verbs[verb]()
    redis.call('SADD', KEYS[1], name)
    redis.call('PEXPIRE', KEYS[1], 2 * denied_ms)
    found, wait, reason = state()
  end
  if verb ~= 'look' then redis.call('PEXPIRE', breaker, 2 * denied_ms) end
  local since = '(' .. (now - window)
  return {found, reason, math.ceil(wait), redis.call('ZCOUNT', calls, since, '+inf'),
    redis.call('ZCOUNT', failures, since, '+inf'), get('denied')}
end

local conditions = {}
for i = 2, #KEYS, 3 do
  table.insert(conditions, apply(KEYS[i], KEYS[i + 1], KEYS[i + 2]))
end
return cjson.encode(conditions)
"""

_VERBS = {
    None: "ok",
    # The request was wrong: whoever says so is well.
    Trouble.REFUSED: "ok",
    # It never reached the service.
    Trouble.BLOCKED: "ours",
    Trouble.THROTTLED: "throttled",
    Trouble.DENIED: "denied",
    Trouble.TIMEOUT: "failed",
    Trouble.UNAVAILABLE: "failed",
    Trouble.BROKEN: "failed",
}


class Breakers:
    """The breakers of all targets, as every process sees them.

    A target that was closed is not asked about again for `lately`, unless a call to it fails
    meanwhile, and for so long its successes are gathered and told behind the callers' backs.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        prefix: str,
        rules: Rules | None = None,
        lately: timedelta = timedelta(0),
    ) -> None:
        self._client = client
        self._lately = lately.total_seconds()
        self._closed_until: dict[Target, float] = {}
        # Appended to and taken from by many threads, without a lock that a fork could copy.
        self._succeeded: deque[Target] = deque()
        self._teller = background.Worker("breakers", self._tell, rest=LATELY.total_seconds())
        self._prefix = f"{prefix}:breaker"
        self._names = f"{prefix}:breakers"
        self._rules = astuple(rules or Rules())
        self._blind_until = 0.0

    def admit(self, target: Target) -> Condition:
        """Ask right before a call, which may go ahead unless the condition `is_open`.

        At half-open whoever asks first is the probe, and must `report`.
        """
        if self._was_closed_lately(target):
            return Condition(target=target)
        condition = self._run("admit", [target])[target]
        if condition.state is State.CLOSED:
            self._closed_until[target] = time.monotonic() + self._lately
        return condition

    def report(self, target: Target, trouble: Trouble | None) -> Condition:
        """Tell how a call ended; None is success."""
        if trouble is None and self._was_closed_lately(target):
            self._succeeded.append(target)
            self._teller.wake()
            return Condition(target=target)
        self._closed_until.pop(target, None)
        # A failure must be weighed against all that went well before it.
        self._tell()
        return self._run(_VERBS[trouble], [target])[target]

    def _was_closed_lately(self, target: Target) -> bool:
        return self._closed_until.get(target, 0.0) > time.monotonic()

    def _tell(self) -> None:
        gathered: Counter[Target] = Counter()
        while self._succeeded:
            # Whoever else takes them tells of them.
            with suppress(IndexError):
                gathered[self._succeeded.popleft()] += 1
        for target, times in gathered.items():
            self._run("ok", [target], times=times)

    def look(self, targets: Iterable[Target]) -> dict[Target, Condition]:
        """The conditions, without taking anybody's place."""
        return self._run("look", list(targets))

    def known(self) -> list[Condition]:
        """Every breaker that was reported to lately, by name; empty while Redis is away."""
        names = self._ask(lambda: self._client.smembers(self._names)) or ()
        return list(
            self.look(sorted((Target(**json.loads(name)) for name in names), key=str)).values()
        )

    def _run(self, verb: str, targets: list[Target], *, times: int = 1) -> dict[Target, Condition]:
        keys = [self._names]
        for target in targets:
            key = f"{self._prefix}:{target}"
            keys += [key, f"{key}:calls", f"{key}:failures"]
        name = json.dumps(vars(targets[0]), sort_keys=True) if targets else ""
        # EVAL, not EVALSHA: one round trip, so that the time-out bounds the whole wait.
        answer = self._ask(
            lambda: self._client.eval(_SCRIPT, len(keys), *keys, verb, name, times, *self._rules)
        )
        if answer is None:
            return {
                target: Condition(target=target, is_known=False, reason="Redis is away.")
                for target in targets
            }
        rows = json.loads(answer)
        return {target: _condition(target, row) for target, row in zip(targets, rows, strict=True)}

    def _ask(self, command: Any) -> Any:
        """The answer, or None when there is none in time; then nobody asks for a while."""
        if time.monotonic() < self._blind_until:
            return None
        try:
            return command()
        except redis.RedisError as error:
            self._blind_until = time.monotonic() + BLIND.total_seconds()
            logger.warning("Breakers count as closed for now, Redis failed: %s", error)
            return None


def _condition(target: Target, row: list[Any]) -> Condition:
    state, reason, wait_ms, calls, failures, denied = row
    return Condition(
        target=target,
        state=State(state),
        reason=reason,
        retry_after=timedelta(milliseconds=wait_ms),
        calls=calls,
        failures=failures,
        denied=denied,
    )


def patience(timeout: timedelta) -> dict[str, Any]:
    """Options of a client that waits this long for a connection, this long for an answer, and once."""
    seconds = timeout.total_seconds()
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }


@lru_cache(maxsize=1)
def breakers() -> Breakers:
    """Those of this installation."""
    client = redis.Redis.from_url(settings.REDIS_URL, **patience(TIMEOUT))
    lately = min(LATELY, settings.AWSAI_FRESH)
    return Breakers(client, prefix=settings.REDIS_PREFIX, lately=lately)
