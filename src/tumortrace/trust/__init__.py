"""What can be believed: metrics, baselines and evaluations."""
