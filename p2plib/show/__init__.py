"""What people look at: figures, sliders, live displays, the report of a run."""
