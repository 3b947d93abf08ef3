"""What the machine, the network and the disk have for a run."""
