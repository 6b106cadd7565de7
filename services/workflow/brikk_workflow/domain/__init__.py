"""The rules of the workflow service: pure, without I/O, clock, transport or store."""
