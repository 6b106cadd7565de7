"""Stops calls to endpoints that cannot be reached, so that steps wait instead of failing.

The ejection of `brikk_shared.selection` is another thing: it judges an agent by its peers at one
capability, from all its outcomes, and gives way when most are out, since somebody must be called. A
breaker knows one endpoint, of whichever capability, and holds when it is the only one left. A new
registration there is a new process, and begins with a breaker of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brikk_shared.clock import Clock
from brikk_shared.errors import Reason
from brikk_shared.selection import Option
from brikk_workflow.clients.work import Answered, Outcome

FAILURES = 3
"""Calls in a row that did not reach an endpoint before no more are sent."""
FIRST = 5.0
"""Seconds that a breaker stays open at first; twice as long each time after."""
LONGEST = 60.0
"""Seconds that it stays open at most."""
TRIAL = 10.0
"""Seconds that a call on trial may take; then another is sent."""
FORGOTTEN = 300.0
"""Seconds after which an endpoint that nobody called any more begins anew."""

_MOST_DOUBLED = 10


_Way = tuple[str, datetime | None]


@dataclass(kw_only=True, slots=True)
class _Breaker:
    failures: int = 0
    opened: int = 0
    on_trial: bool = False
    until: float = 0.0
    """By the monotonic clock: when a call on trial may be sent; before it opens, its last miss."""

    @property
    def open(self) -> bool:
        return self.opened > 0


# What an agent answered, be it an error or what it did not promise.
_ANSWERED = frozenset({Reason.AGENT_FAILED, Reason.OUTPUT_MISMATCH})


class Breakers:
    """One breaker for each endpoint that was not reached lately; the others cost nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: dict[_Way, _Breaker] = {}
        self.open = 0
        """How many endpoints get no calls but those on trial."""

    def lets(self, option: Option) -> bool:
        """Tells whether a call may go to an endpoint now."""
        breaker = self._breakers.get(_way(option))
        return breaker is None or not breaker.open or breaker.until <= self._clock.monotonic()

    def sent(self, option: Option) -> None:
        """A call goes to an endpoint: on trial if its breaker is open, and then the only one."""
        breaker = self._breakers.get(_way(option))
        if breaker is not None and breaker.open:
            breaker.on_trial = True
            breaker.until = self._clock.monotonic() + TRIAL

    def learn(self, option: Option, outcome: Outcome) -> bool:
        """Takes in what became of a call; tells whether it found the endpoint back.

        A call that was too late tells neither: something took it.
        """
        if isinstance(outcome, Answered) or outcome.failure.reason in _ANSWERED:
            return self.reached(option)
        if outcome.failure.reason is Reason.AGENT_UNAVAILABLE:
            self.missed(option)
        return False

    def reached(self, option: Option) -> bool:
        """An endpoint answered, be it an error; tells whether it is called again from now on."""
        breaker = self._breakers.pop(_way(option), None)
        if breaker is None or not breaker.open:
            return False
        self.open -= 1
        return True

    def missed(self, option: Option) -> None:
        """A call did not reach an endpoint."""
        now = self._clock.monotonic()
        self._forget(now)
        breaker = self._breakers.setdefault(_way(option), _Breaker())
        breaker.failures += 1
        if breaker.open and not breaker.on_trial:
            # It was sent before the breaker opened, and tells nothing new.
            return
        if breaker.failures < FAILURES:
            breaker.until = now
            return
        self.open += not breaker.open
        breaker.until = now + min(FIRST * 2**breaker.opened, LONGEST)
        breaker.opened = min(breaker.opened + 1, _MOST_DOUBLED)
        breaker.on_trial = False

    def _forget(self, now: float) -> None:
        # Nobody tries those again that left the registry.
        for way, breaker in list(self._breakers.items()):
            if now > breaker.until + FORGOTTEN:
                self.open -= breaker.open
                del self._breakers[way]


def _way(option: Option) -> _Way:
    return option.endpoint, option.register_time
