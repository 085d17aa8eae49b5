"""Faults on purpose: writes that fail, kills, and a system without room. ``make faults`` prints what became of each."""
