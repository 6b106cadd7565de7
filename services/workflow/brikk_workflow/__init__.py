"""The workflow service: durable execution of multi-step workflows by agents."""
