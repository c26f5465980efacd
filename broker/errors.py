"""What a person has to put right before the broker can run; the command prints it and exits 1."""


class BrokerError(Exception):
    """Begins with what could not be done, and quotes what arrived."""
