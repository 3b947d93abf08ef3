"""Files between stages: data set stores, their shards and order, embeddings and heads."""
