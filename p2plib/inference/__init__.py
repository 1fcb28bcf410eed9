"""Using a trained model: load it and run it on images of any size, folders and videos."""
