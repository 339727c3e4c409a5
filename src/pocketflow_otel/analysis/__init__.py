"""Many steps or runs as numbers: rows, sums, differences, paths."""
