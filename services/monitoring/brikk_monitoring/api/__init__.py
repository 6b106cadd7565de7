"""The servicers: events in, summaries out."""
