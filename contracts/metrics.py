"""The names of all metrics. Exporters take them from here; the reference page is made from this list."""

import msgspec


class Metric(msgspec.Struct, frozen=True):
    name: str
    kind: str  # counter, gauge or histogram
    help: str
    labels: tuple[str, ...] = ()


INGEST_RECEIVED = Metric(
    "dure_ingest_observations_received_total", "counter", "Observations announced by the headers of received batches"
)
INGEST_COMMITTED = Metric("dure_ingest_observations_committed_total", "counter", "Observations stored")
INGEST_DUPLICATE = Metric(
    "dure_ingest_observations_duplicate_total", "counter", "Observations of batches at or below the cursor, skipped"
)
INGEST_OUT_OF_ORDER = Metric(
    "dure_ingest_observations_out_of_order_total",
    "counter",
    "Observations of batches behind a gap, ignored and sent again",
)
INGEST_QUARANTINED = Metric(
    "dure_ingest_observations_quarantined_total",
    "counter",
    "Observations put into quarantine or, over its limit, refused",
    ("reason",),
)
INGEST_LOST = Metric(
    "dure_ingest_observations_lost_total",
    "counter",
    "Observations that an outbox dropped at its limit before they were stored",
)
INGEST_MALFORMED = Metric("dure_ingest_messages_malformed_total", "counter", "Messages whose header could not be read")
INGEST_SHED = Metric(
    "dure_ingest_messages_shed_total", "counter", "Messages dropped because the inbox was full; agents send them again"
)
INGEST_FLUSHES = Metric("dure_ingest_flushes_total", "counter", "Transactions committed")
INGEST_ROLLBACKS = Metric("dure_ingest_rollbacks_total", "counter", "Transactions that failed and were tried again")
INGEST_FLUSH_SECONDS = Metric(
    "dure_ingest_flush_seconds_total", "counter", "Time spent in flushes, from the inbox to COMMIT"
)
INGEST_LATENCY_SECONDS = Metric(
    "dure_ingest_latency_seconds", "histogram", "Hand-over by the driver to COMMIT, of a batch's oldest observation"
)
INGEST_FINDINGS = Metric("dure_ingest_findings_total", "counter", "Findings of the detectors", ("detector",))
INGEST_ALARMS_OPENED = Metric("dure_ingest_alarms_opened_total", "counter", "Alarms opened", ("detector",))
INGEST_CONNECTED = Metric("dure_ingest_broker_connected", "gauge", "1 while connected to the broker")
INGEST_READY = Metric("dure_ingest_ready", "gauge", "1 while batches go from the broker into the database")
INGEST_NOT_READY = Metric(
    "dure_ingest_not_ready_seconds",
    "gauge",
    "How long a reason has kept the service from being ready; 0 while it does not hold",
    ("reason",),
)

API_REQUESTS = Metric("dure_api_requests_total", "counter", "Requests answered", ("route", "method", "status"))
API_REQUEST_SECONDS = Metric("dure_api_request_seconds", "histogram", "Time to answer", ("route",))
API_STREAM_CLIENTS = Metric("dure_api_stream_clients", "gauge", "Open live streams")
API_STREAM_COALESCED = Metric(
    "dure_api_stream_coalesced_total", "counter", "Live updates replaced by newer ones before a slow client read them"
)
API_BROKER_CONNECTED = Metric("dure_api_broker_connected", "gauge", "1 while connected to the broker")

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
