"""Outgoing calls: to discovery for agents, to agents for work."""
