"""Programs of the maintainers: weights, documentation, pictures, injected faults."""
