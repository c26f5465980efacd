"""What the tests of services share, once a session: real brokers. The database is in tests/conftest.py."""

from tests.services.broker_fixture import any_broker, mosquitto_broker, nats_broker
from tests.services.faults_fixture import breakable

__all__ = ["any_broker", "breakable", "mosquitto_broker", "nats_broker"]
