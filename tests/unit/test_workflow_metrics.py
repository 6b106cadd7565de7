"""What the engine shows of its choices and of what it knows."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from brikk_shared.selection import Policy
from brikk_workflow.runtime.metrics import Metrics
from support.directories import Setting


async def test_choices_and_knowledge_are_shown() -> None:
    registry = CollectorRegistry()
    metrics, setting = Metrics(registry), Setting()
    metrics.observe(setting.watch, setting.breakers)
    metrics.chosen(Policy.RANDOM)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"brikk_workflow_{name}", labels)

    assert shown("agent_choices_total", policy="random") == 1
    assert shown("agent_choices_total", policy="best") == 0
    await setting.offer({"t": ["a", "b"]})
    await setting.choose()
    assert shown("candidates") == 2
    assert shown("discovery_watches", state="live") == 0
    assert shown("discovery_watches", state="away") == 1
    async with setting.watching():
        await setting.until_live()
        assert shown("discovery_watches", state="live") == 1
        assert shown("discovery_watches", state="away") == 0
