"""From embeddings to rows of metrics.csv, and the choice of alpha."""
