"""The reference pages say what the code says."""

import pytest

from contracts import metrics, profiles, reasons
from deploy import reference_cli

PAGES = reference_cli.ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference_cli.pages()


def test_the_committed_pages_are_what_the_command_writes(pages):
    stale = [name for name, text in pages.items() if (PAGES / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `./run dure reference` and commit"


def test_every_kind_metric_and_reason_is_on_its_page(pages):
    for kind in profiles.load(profiles.SHIPPED):
        assert f"## {kind}" in pages["kinds.md"]
    for metric in metrics.ALL:
        assert f"`{metric.name}`" in pages["metrics.md"]
    for reason in reasons.Reason:
        assert f"`{reason.value}`" in pages["quarantine.md"]
