"""pflow's own traces: read, and told as spans of ours."""
