"""Webhooks, events, deliveries and attempts at rest."""
