"""Tasks, one per file: each says where its pairs come from and how generated images are finished."""
