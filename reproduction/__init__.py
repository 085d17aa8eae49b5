"""The student paper's experiments: ``python -m reproduction BR35H``."""
