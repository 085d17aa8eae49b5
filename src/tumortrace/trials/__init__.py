"""Many trainings: cross-validation and sweeps."""
