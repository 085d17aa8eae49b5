"""Many scans: found, shared out, and gone on with after a stop."""
