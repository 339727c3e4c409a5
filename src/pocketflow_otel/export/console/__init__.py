"""The live view on stderr."""
