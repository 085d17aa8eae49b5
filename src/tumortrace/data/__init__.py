"""Slices, regions, masks and datasets, with every fault named."""
