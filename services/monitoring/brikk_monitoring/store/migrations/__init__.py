"""The migrations of the monitoring service's own tables."""
