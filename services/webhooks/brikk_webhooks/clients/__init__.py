"""What the service calls: the endpoints of webhooks."""
