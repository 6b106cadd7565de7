"""The brikk command."""
