"""The discovery service: which live agent has which capability."""
