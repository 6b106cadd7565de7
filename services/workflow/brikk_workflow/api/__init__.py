"""Servicers, a file per noun: translate, decide, one transaction, answer."""
