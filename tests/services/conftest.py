"""What the tests of services share, once a session: real brokers. The database is in tests/conftest.py."""

from tests.services.broker_fixture import any_broker, mosquitto_broker, nats_broker

__all__ = ["any_broker", "mosquitto_broker", "nats_broker"]
