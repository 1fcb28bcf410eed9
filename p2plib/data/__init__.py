"""Pairs of pictures: the named data sets, downloads, files, and the pipeline that feeds training."""
