"""Runs in the formats of other people."""
