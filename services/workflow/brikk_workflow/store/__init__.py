"""Rows and queries; what differs between SQLite and PostgreSQL stays in here."""
