"""OTLP, in a way that cannot harm the program."""
