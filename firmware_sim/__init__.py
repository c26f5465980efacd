"""Devices that do not exist: fleets, physics, labelled faults, recordings, and the source that feeds agents."""
