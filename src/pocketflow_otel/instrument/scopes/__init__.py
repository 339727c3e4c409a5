"""What a flow, a node, a batch item and an attempt say about themselves."""
