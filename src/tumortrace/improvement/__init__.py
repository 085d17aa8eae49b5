"""From corrected masks to a new model, and a test of whether it is better."""
