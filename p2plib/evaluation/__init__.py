"""Evaluation: metrics, distances between image sets, and comparisons with confidence intervals."""
