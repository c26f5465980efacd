"""Devices that do not exist: fleets, physics, faults with ground truth, recordings, and the source that feeds agents."""
