"""What comes in: slices, regions and masks, one foreign format a file, and datasets with their faults named."""
