"""The report's experiments: ``python -m experiments BR35H`` does all, ``python -m experiments.NAME`` one."""
