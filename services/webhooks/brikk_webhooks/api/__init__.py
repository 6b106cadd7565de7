"""The RPCs of the webhooks service."""
