"""Wiring, running, watching, pretending."""
