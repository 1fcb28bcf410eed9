"""Pairs of images: the named data sets, downloads, files, tasks, and the batches that feed training."""
