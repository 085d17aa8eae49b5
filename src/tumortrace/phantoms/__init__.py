"""Generated slices with tumours of known outline."""
