"""The rules of the registry: what an agent is, how long it counts as live, who stands first."""
