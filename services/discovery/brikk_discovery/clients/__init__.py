"""What discovery sends to other services."""
