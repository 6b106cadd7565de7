"""What this process learned of an agent at a capability, and what that promises."""

from __future__ import annotations

from math import exp, exp2, pow

from brikk_shared.selection.option import Option

HALF_LIFE = 60.0
"""Seconds after which a call weighs half; the registry's observations age alike."""
WINDOW = 50.0
"""Calls after which an older one weighs a third: a busy agent's change shows within as many."""
PEAK_FADES = 10.0
"""Seconds in which a peak of latency loses two thirds of its height."""
SHARED_WEIGHT = 20.0
"""Most calls that what others experienced counts for: our own soon tell more."""
PRIOR_WEIGHT = 2.0
"""Calls that the expectation counts for with which an unknown agent begins."""
SUCCESS_WEIGHT = 3.0
"""Exponent: how much success counts against latency, as a failed call costs more than time."""

_KEEP = 1.0 - 1.0 / WINDOW
_INSTANT = 1e-6
"""Seconds that stand for a latency of nothing, which cannot be divided by."""


class Experience:
    """Sums that fade with time and with newer calls. All times are the clock's seconds."""

    __slots__ = (
        "calls",
        "doubt",
        "judged",
        "mean",
        "peak",
        "quality",
        "successes",
        "time",
        "timed",
        "well",
    )

    def __init__(self, now: float) -> None:
        self.time = now
        """Of the last call."""
        self.forget()

    def forget(self) -> None:
        """Starts anew, because what was learned no longer holds."""
        self.doubt = 0.0
        """Evidence that it got worse since it last seemed well: a log likelihood ratio."""
        self.well = 0.0
        """Its success rate while it seemed well; 0 when unknown."""
        self.calls = 0.0
        self.successes = 0.0
        self.timed = 0.0
        self.mean = 0.0
        self.peak = 0.0
        self.judged = 0.0
        self.quality = 0.0

    def learn(self, now: float, *, succeeded: bool, seconds: float, quality: float | None) -> None:
        """Takes one call into account."""
        elapsed = now - self.time
        fade = exp2(-elapsed / HALF_LIFE) * _KEEP
        self.time = now
        self.calls = self.calls * fade + 1.0
        self.successes = self.successes * fade + succeeded
        # An agent that refuses at once must not look fast.
        if succeeded or seconds > self.mean:
            self.timed = self.timed * fade + 1.0
            self.mean += (seconds - self.mean) / self.timed
            if seconds >= self.peak:
                self.peak = seconds
            else:
                self.peak = seconds + (self.peak - seconds) * exp(-elapsed / PEAK_FADES)
        if quality is not None:
            self.judged = self.judged * fade + 1.0
            self.quality += (quality - self.quality) / self.judged


def known(option: Option, experience: Experience | None, now: float) -> float:
    """Returns how many calls the judgement of an option rests on, weighed by age."""
    calls = 0.0
    if experience is not None:
        calls = experience.calls * exp2((experience.time - now) / HALF_LIFE)
    if option.observation is not None:
        calls += _weight_of(option.observation.calls, now - option.observation.receive_time)
    return calls


def promise(
    option: Option,
    experience: Experience | None,
    now: float,
    *,
    success_rate: float,
    latency: float,
) -> float:
    """Returns success x quality / latency, as expected of the next call.

    Our own calls weigh as many as they were; before them come what others observed and what the
    agent declared.

    Args:
        success_rate: what is expected of an option of which nothing is known.
        latency: likewise, in seconds.
    """
    weight = PRIOR_WEIGHT
    successes = success_rate * weight
    quality = weight
    if option.latency is not None:
        latency = option.latency.total_seconds()
    seconds = latency * weight
    observation = option.observation
    if observation is not None:
        shared = _weight_of(observation.calls, now - observation.receive_time)
        weight += shared
        successes += observation.success_rate * shared
        quality += observation.quality * shared
        if observation.latency is not None:
            latency = observation.latency.total_seconds()
        seconds += latency * shared
    calls = timed = judged = weight
    peak = 0.0
    if experience is not None:
        elapsed = now - experience.time
        fade = exp2(-elapsed / HALF_LIFE)
        calls += experience.calls * fade
        successes += experience.successes * fade
        if experience.timed:
            timed += experience.timed * fade
            seconds += experience.mean * experience.timed * fade
            peak = experience.peak * exp(-elapsed / PEAK_FADES)
        if experience.judged:
            judged += experience.judged * fade
            quality += experience.quality * experience.judged * fade
    mean = seconds / timed
    rate = successes / calls
    return pow(rate, SUCCESS_WEIGHT) * (quality / judged) / (max(mean, peak) or _INSTANT)


def _weight_of(calls: float, age: float) -> float:
    return min(calls, SHARED_WEIGHT) * exp2(-age / HALF_LIFE)
