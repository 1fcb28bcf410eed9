"""Models on the Hugging Face Hub and on Kaggle: their names, their files, and what can go wrong on the way."""
