"""What tracing costs: `python -m benchmarks` measures it and prints it beside the aims."""
