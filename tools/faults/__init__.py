"""Faults on purpose: failing writes, kills, and a system without room.

``make faults`` prints what became of each.
"""
