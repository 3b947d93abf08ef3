"""Published encoders other than CLIP lines and students: fetched, loaded and run over a store."""
