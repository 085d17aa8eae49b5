"""What segmenting writes: results.json, and mask files of each format."""
