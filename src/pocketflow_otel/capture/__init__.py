"""What we look at: pure, standard library only."""
