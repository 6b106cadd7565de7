"""Discovery's knobs: intervals that contradict one another are refused at start."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from brikk_discovery.settings import DiscoverySettings


def test_the_defaults_hold_together() -> None:
    terms = DiscoverySettings.model_validate({}).terms
    assert terms.heartbeat_interval == timedelta(seconds=10)
    assert terms.suspect_after == timedelta(seconds=25)
    assert terms.expire_after == timedelta(seconds=40)
    assert terms.grace == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"heartbeat_interval": "12s"}, "suspect_after must be at least"),
        ({"suspect_after": "31s"}, "expire_after must be"),
        ({"checkpoint_interval": "11s"}, "checkpoint_interval must not"),
        ({"sweep_interval": "0s"}, "sweep_interval must be longer"),
        ({"probe_interval": "1s"}, "probe_timeout must not"),
        ({"probe_timeout": "0s"}, "probe_timeout must be longer"),
        ({"mass_loss_share": "1.5"}, "mass_loss_share"),
        ({"mass_loss_removal": "0"}, "mass_loss_removal"),
        ({"max_agents": "0"}, "max_agents"),
    ],
)
def test_contradictions_are_refused(knobs: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        DiscoverySettings.model_validate(knobs)
