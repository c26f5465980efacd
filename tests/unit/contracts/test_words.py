"""The closed lists: reasons have labels, metrics have names that Prometheus takes, log lines stay lines."""

import re
from datetime import datetime

from contracts import metrics, reasons
from contracts.log import log
from contracts.reasons import Reason


def test_every_reason_has_a_label_in_both_languages():
    assert set(reasons.LABELS) == set(Reason)
    for reason, label in reasons.LABELS.items():
        assert set(label) == {"en", "ko"}, reason
        assert all(label.values()), reason
    assert len({label["en"] for label in reasons.LABELS.values()}) == len(Reason)


def test_metrics_are_named_once_and_as_prometheus_wants():
    names = [metric.name for metric in metrics.ALL]
    assert len(names) == len(set(names)) > 15
    for metric in metrics.ALL:
        assert re.fullmatch(r"dure_[a-z][a-z0-9_]*", metric.name)
        assert metric.kind in ("counter", "gauge", "histogram")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help


def test_a_log_line_is_one_line_whatever_foreign_text_it_quotes(capsys):
    log("agent.odd", level="warning", topic="dure/v1/07/41280/p/batch", name="a\nb c", empty="", count=3)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    stamp, rest = line.split(" ", 1)
    assert datetime.fromisoformat(stamp).tzinfo is not None
    assert rest == "warning agent.odd topic=dure/v1/07/41280/p/batch name='a\\nb c' empty='' count=3\n"
