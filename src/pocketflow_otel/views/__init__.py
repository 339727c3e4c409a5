"""How people see a run: the lines, the tree, the bars, the tables."""
