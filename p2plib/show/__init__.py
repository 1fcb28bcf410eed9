"""Figures, sliders, live displays, and the report of a run."""
