"""Checks of the machine, the network and the disk before a run."""
