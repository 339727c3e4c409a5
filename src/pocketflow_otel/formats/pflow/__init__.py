"""pflow's own traces: read, and turned into spans of ours."""
