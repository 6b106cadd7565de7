"""The migrations of the webhooks service's own tables."""
