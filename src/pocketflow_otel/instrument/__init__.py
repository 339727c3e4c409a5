"""Framework calls to spans; the only place that touches other people's classes."""
