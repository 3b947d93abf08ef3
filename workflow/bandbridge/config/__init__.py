"""The configuration: its checks, and everything that the rules ask of it."""
