"""What people do with a model: load, classify, embed, search, map, explore, export."""
