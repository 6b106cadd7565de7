"""Chooses which agent a call goes to, from what the registry says and what calls taught."""

from brikk_shared.selection.option import Group, Observation, Option, Policy
from brikk_shared.selection.outcomes import OutcomeSum
from brikk_shared.selection.selector import Selector

__all__ = ["Group", "Observation", "Option", "OutcomeSum", "Policy", "Selector"]
