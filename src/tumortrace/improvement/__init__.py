"""From corrected masks to a better model, or to the proof that it is none."""
