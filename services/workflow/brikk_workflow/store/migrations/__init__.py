"""Schema versions of the workflow store."""
