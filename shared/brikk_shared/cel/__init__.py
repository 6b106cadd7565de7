"""Expressions that people write, in CEL: compiled, bounded, explained."""
