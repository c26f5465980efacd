"""The MQTT broker: identities, permissions, configuration and supervision.

Renders one registry of identities into the configuration of either broker (NATS or Mosquitto) and keeps that
broker running. Promises that no client is anonymous and that each may do only what its role needs. What travels over
the broker is the contract's business; nothing of ours that matters is stored in it.
"""
