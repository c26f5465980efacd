"""The agent of an edge box: drivers, outbox, uplink. `agent.py` tells the whole story.

Runs on a Raspberry Pi: paho-mqtt, msgspec, zstandard and the standard library only.
"""
