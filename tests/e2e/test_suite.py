"""A suite as a library: what benchmarks and other tests do with its processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brikk_cli.failures import CommandError
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite


async def test_a_service_is_killed_stopped_and_started(tmp_path: Path) -> None:
    async with Suite(tmp_path, ports=Ports.free(), log_level="warning") as suite:
        first = suite.pid("discovery")
        await suite.kill("discovery")
        await suite.ready("discovery")
        assert suite.pid("discovery") not in {None, first}

        await suite.stop("discovery")
        assert "discovery" not in json.loads(suite.home.processes.read_text())
        with pytest.raises(CommandError, match="discovery did not start"):
            await suite.start("discovery", {"BRIKK_DISCOVERY_MAX_AGENTS": "none"})
        await suite.stop("discovery")
        await suite.start("discovery")
        processes = json.loads(suite.home.processes.read_text())
        assert processes["discovery"] == suite.pid("discovery")
