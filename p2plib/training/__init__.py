"""Training: the objective, the loop around stock `fit()`, and the run folder."""
