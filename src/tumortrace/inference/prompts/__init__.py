"""Boxes and clicks: a person points, the mask follows."""
