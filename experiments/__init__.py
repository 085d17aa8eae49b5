"""The report's experiments, one file each: ``python -m experiments.NAME`` writes ``results/NAME.csv`` or ``.json``."""
