"""What keeps the registry true: the index in memory, its changes, heartbeats and expiry."""
