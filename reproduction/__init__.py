"""The student paper's experiments: ``python -m reproduction BR35H`` does all, ``python -m reproduction.NAME`` one."""
