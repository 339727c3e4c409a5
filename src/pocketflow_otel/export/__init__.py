"""Spans to people and files."""
