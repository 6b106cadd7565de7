"""The engine: what claims, commits, calls and wakes executions."""
