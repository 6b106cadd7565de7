"""What is worked out of the counts."""
