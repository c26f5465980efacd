"""Detectors over stored history, into a report: how their parameters are tuned before they are switched on."""
