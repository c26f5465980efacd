"""Recordings of real devices: read through a declarative map, accounted for cell by cell, played to agents."""
