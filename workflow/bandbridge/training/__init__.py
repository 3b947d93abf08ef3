"""The trainings: fine-tuning, alignment, a CLIP from scratch, and the loop that they share."""
