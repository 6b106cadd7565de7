"""The monitoring service: counts and latencies of executions, steps and agents."""
