"""Rates and times, each beside a ceiling or a peer measured in the same run; outside the timed tests."""
