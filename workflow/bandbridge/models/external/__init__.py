"""Published encoders beside our own: fetched, loaded and run over a store."""
