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
TRIALS = 2
"""Calls on trial that must fail before it is ejected again: a good agent may fail once."""
RAMP = 30.0
"""Seconds in which a new agent, or one that came back, grows to its full share."""

_WORSE = 0.6
"""An agent that is ill succeeds at most this share of the times that it did when it was well."""
_WELL_AT_LEAST = 0.75
"""An agent that never did better than this share of the usual success rate is held ill anyway."""
_SURELY = 0.95
"""Nobody is thought to succeed more often: even the best may fail four times in a row."""
_CONVICTED = 9.0
"""Evidence, a log likelihood ratio, at which an agent is ejected."""

_OWN_PRIOR = 10.0
"""Calls that the usual success rate counts for in an agent's own."""
_LAG = 0.05
"""How far an agent's success rate, by which it is held well, follows each call in doubt."""
_USUAL_WINDOW = 200.0
_USUAL_PRIOR = 50.0
"""Calls that the expectation counts for: a few agents that fail at first are not the usual."""
_USUAL_RATE = 0.9
_KEEP = 1.0 - 1.0 / _USUAL_WINDOW


class _Ejection:
    __slots__ = ("count", "out", "time", "trials")

    def __init__(self) -> None:
        self.count = 0
        self.out = False
        self.trials = 0
        """Calls on trial that were sent since it was due."""
        self.time = 0.0
        """While it is out, when it may be tried next; else, when it came back."""


class Contest:
    """What the agents of one capability have in common. All times are the clock's seconds."""

    __slots__ = ("_calls", "_ejections", "_latency", "_successes", "panic", "version")

    def __init__(self) -> None:
        self.version = 0
        """Moves whenever an agent is ejected, tried or comes back."""
        self.panic = False
        """Whether so many are out that they are called all the same: they are the usual then."""
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
        """Notes that an ejected agent gets a call on trial: if that succeeds, it is back."""
        ejection = self._ejections[agent]
        ejection.trials += 1
        ejection.time = now + TRIAL_TIME
        self.version += 1

    def judge(
        self, agent: str, experience: Experience, now: float, *, succeeded: bool, seconds: float
    ) -> None:
        """Ejects an agent or brings it back, after `experience` learned its last call."""
        ejection = self._ejections.get(agent)
        if ejection is None or not ejection.out or self.panic:
            self._calls = self._calls * _KEEP + 1.0
            self._successes *= _KEEP
            self._latency *= _KEEP
            if succeeded:
                self._successes += 1.0
                self._latency += seconds
        self._weigh(experience, succeeded=succeeded)
        if ejection is not None and ejection.out:
            trials = 0 if self.panic else ejection.trials
            if succeeded and (trials or not experience.doubt):
                ejection.out = False
                ejection.time = now
                experience.forget()
                self.version += 1
            elif trials >= TRIALS:
                self._eject(agent, ejection, now)
            elif trials:
                ejection.time = now
                self.version += 1
        elif not succeeded and experience.doubt >= _CONVICTED:
            self._eject(agent, ejection or _Ejection(), now)

    def _weigh(self, experience: Experience, *, succeeded: bool) -> None:
        """Moves the doubt: a sequential test (CUSUM) of ill against well.

        It soon finds failures in a row as well as a low success rate, the sooner the surer the
        agent was before, and where everything fails often it takes more.
        """
        usual = self.success_rate
        rate = (experience.successes + usual * _OWN_PRIOR) / (experience.calls + _OWN_PRIOR)
        if succeeded and not experience.doubt:
            experience.well = rate
            return
        well = experience.well or usual
        # It follows slowly, so that an agent which is always weak is no outlier for it.
        experience.well = well + (rate - well) * _LAG
        well = min(max(experience.well, usual * _WELL_AT_LEAST), _SURELY)
        ill = well * _WORSE
        evidence = log(ill / well) if succeeded else log((1.0 - ill) / (1.0 - well))
        experience.doubt = min(max(experience.doubt + evidence, 0.0), _CONVICTED)

    def _eject(self, agent: str, ejection: _Ejection, now: float) -> None:
        if not ejection.out and now > ejection.time + EJECTED_AT_MOST:
            ejection.count = 0
        ejection.count += 1
        ejection.out = True
        ejection.trials = 0
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
