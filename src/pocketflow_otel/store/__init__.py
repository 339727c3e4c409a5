"""Snapshots of a shared store, taken without running user code: names and types, never values."""
