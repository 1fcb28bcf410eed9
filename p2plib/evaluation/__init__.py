"""How good a model is: metrics, distances between sets, comparisons with confidence intervals."""
