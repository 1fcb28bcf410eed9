"""Training on Kaggle: a self-contained kernel, the session that it runs, and fetching the results."""
