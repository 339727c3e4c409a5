"""A run as data and files: records, the journal, the trace file, the directory they lie in."""
