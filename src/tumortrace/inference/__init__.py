"""From a scan to a mask, without torch."""
