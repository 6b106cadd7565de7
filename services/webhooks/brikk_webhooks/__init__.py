"""The webhooks service: every event delivered, signed and logged."""
