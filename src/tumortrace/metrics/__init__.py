"""Measures of masks, lesions and probabilities, with their intervals."""
