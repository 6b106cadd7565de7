"""Those who compete for the calls of one capability: what is usual, and who is ejected."""

from __future__ import annotations

from math import log

from brikk_shared.selection.experience import Experience

EJECTED_FOR = 30.0
"""Seconds of the first ejection; the second lasts twice as long, and so on."""
EJECTED_AT_MOST = 300.0
"""Seconds. After as long without one the count begins anew."""
TRIAL_TIME = 30.0
"""Seconds that a call on trial may take; then another is sent."""
RAMP = 30.0
"""Seconds in which a new agent, or one that came back, grows to its full share."""

_FAILURES_IN_ROW = 5
_RELAPSE_IN_ROW = 2
"""Failures that are enough while the agent is still on its way back."""
_CHANCE = log(0.001)
"""Failures in a row eject only if they are less likely than this at the usual success rate."""
_CALLS_TO_JUDGE = 10.0
_OUTLIER = 0.6
"""An agent is ejected below this share of the usual success rate."""
_SUCCESSES_IN_ROW = 3
"""Successes that bring an ejected agent back that is called because too many are ejected."""

_USUAL_WINDOW = 200.0
_USUAL_PRIOR = 10.0
_USUAL_RATE = 0.9
_KEEP = 1.0 - 1.0 / _USUAL_WINDOW


class _Ejection:
    __slots__ = ("count", "on_trial", "out", "time")

    def __init__(self) -> None:
        self.count = 0
        self.out = False
        self.on_trial = False
        self.time = 0.0
        """While it is out, when it may be tried next; else, when it came back."""


class Contest:
    """What the agents of one capability have in common. All times are the clock's seconds."""

    __slots__ = ("_calls", "_ejections", "_latency", "_successes", "version")

    def __init__(self) -> None:
        self.version = 0
        """Moves whenever an agent is ejected, tried or comes back."""
        self._calls = 0.0
        self._successes = 0.0
        self._latency = 0.0
        self._ejections: dict[str, _Ejection] = {}

    @property
    def success_rate(self) -> float:
        """The usual one."""
        return (self._successes + _USUAL_RATE * _USUAL_PRIOR) / (self._calls + _USUAL_PRIOR)

    @property
    def latency(self) -> float | None:
        """The usual one in seconds; None before a call succeeded."""
        return self._latency / self._successes if self._successes else None

    def ejected(self) -> dict[str, float]:
        """Returns who is ejected, and from when on each may be tried again."""
        return {agent: each.time for agent, each in self._ejections.items() if each.out}

    def returned(self) -> dict[str, float]:
        """Returns when those came back who were ejected."""
        return {agent: each.time for agent, each in self._ejections.items() if not each.out}

    def try_again(self, agent: str, now: float) -> None:
        """Notes that an ejected agent gets a call on trial, which decides whether it is back."""
        ejection = self._ejections[agent]
        ejection.on_trial = True
        ejection.time = now + TRIAL_TIME
        self.version += 1

    def judge(
        self, agent: str, experience: Experience, now: float, *, succeeded: bool, seconds: float
    ) -> None:
        """Ejects an agent or brings it back, after `experience` learned its last call."""
        ejection = self._ejections.get(agent)
        if succeeded:
            if (
                ejection is not None
                and ejection.out
                and (ejection.on_trial or experience.streak >= _SUCCESSES_IN_ROW)
            ):
                ejection.out = ejection.on_trial = False
                ejection.time = now
                experience.forget()
                self.version += 1
        elif ejection is not None and ejection.out:
            if ejection.on_trial:
                self._eject(agent, ejection, now)
        elif self._is_outlier(experience, ejection, now):
            self._eject(agent, ejection or _Ejection(), now)
        self._calls = self._calls * _KEEP + 1.0
        self._successes *= _KEEP
        self._latency *= _KEEP
        if succeeded:
            self._successes += 1.0
            self._latency += seconds

    def _is_outlier(self, experience: Experience, ejection: _Ejection | None, now: float) -> bool:
        usual = self.success_rate
        if experience.calls >= _CALLS_TO_JUDGE and (
            experience.successes < experience.calls * usual * _OUTLIER
        ):
            return True
        in_row = -experience.streak
        if ejection is not None and now < ejection.time + RAMP:
            return in_row >= _RELAPSE_IN_ROW
        return in_row >= _FAILURES_IN_ROW and in_row * log(1.0 - usual) <= _CHANCE

    def _eject(self, agent: str, ejection: _Ejection, now: float) -> None:
        if not ejection.out and now > ejection.time + EJECTED_AT_MOST:
            ejection.count = 0
        ejection.count += 1
        ejection.out = True
        ejection.on_trial = False
        ejection.time = now + min(EJECTED_FOR * ejection.count, EJECTED_AT_MOST)
        self._ejections[agent] = ejection
        self.version += 1
        # Nobody tries those again that left the registry.
        for gone in [
            each
            for each, other in self._ejections.items()
            if now > other.time + 2 * EJECTED_AT_MOST
        ]:
            del self._ejections[gone]
