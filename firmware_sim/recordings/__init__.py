"""Recordings of real devices: read through a declarative map, accounted for cell by cell, and played by the source protocol."""
