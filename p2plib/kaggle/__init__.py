"""Training on Kaggle: one self-contained kernel, what runs inside it, and what comes back."""
