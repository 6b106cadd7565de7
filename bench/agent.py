"""The benched agent: written with the SDK, it returns its input."""

from __future__ import annotations

from brikk_agent import Agent

agent = Agent("bench-echo", description="Returns its input.")


@agent.capability("bench.echo")
async def echo(text: str) -> dict[str, str]:
    """Returns its input."""
    return {"text": text}


if __name__ == "__main__":
    agent.run()
