"""Look at a shared store without running user code: names and types, never values."""
