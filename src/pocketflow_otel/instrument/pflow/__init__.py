"""pflow's workflows: two engines, one tree of spans."""
