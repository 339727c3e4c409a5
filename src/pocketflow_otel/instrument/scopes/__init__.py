"""The spans of flows, steps and batch items: their attributes and events, and the attempts of each."""
