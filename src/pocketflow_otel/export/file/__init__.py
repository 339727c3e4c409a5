"""The journal and the trace file of each run."""
