"""The bounds of both brokers, in one place; each names where it comes from."""

from contracts import wire

MAX_PACKET_BYTES = wire.MAX_BODY_BYTES + 8 * 1024  # the largest body, its header and topic, and some room
MAX_CLIENTS = 10_000  # agents of one server; more than that wants a cluster
SPARE_DESCRIPTORS = 256  # descriptors beyond the clients': logs, stores, listeners
MAX_QUEUED_BYTES = 64 * 1024 * 1024  # what may wait for one slow client; NATS's own default
MAX_ACK_PENDING = (
    16_384  # NATS shares its 65,535 among a session's filters, and `#` filters count twice: this leaves four
)
STORE_BYTES = 1024 * 1024 * 1024  # JetStream on disk; it holds QoS 1 messages only until they are delivered
STORE_MEMORY_BYTES = 64 * 1024 * 1024
LOG_BYTES = 1024 * 1024  # of one log file of the broker; one older file is kept
