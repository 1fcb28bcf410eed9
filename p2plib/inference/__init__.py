"""Use of a trained model: load it, run it on images of any size, on folders and on videos."""
