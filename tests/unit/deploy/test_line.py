"""The live line: rewritten on a terminal, every ten seconds elsewhere, and honest when the API does not answer."""

import io
import json
from pathlib import Path

from deploy.demo.line import CLEAR, Line, describe
from deploy.demo.state import Account
from deploy.demo.watch import Api, Watch

STATUS = {
    "observations": {"committed": 65300, "duplicate": 12, "quarantined": 3},
    "observations_per_s": 1280.4,
    "open_alarms": {"info": 0, "warning": 1, "critical": 1, "total": 2},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(folder: Path) -> Watch:
    found = Watch(Api("http://127.0.0.1:9", Account("admin", "secret", "admin")), folder, "Asia/Seoul")
    (folder / "account.json").write_text(json.dumps({"clock_ms": 1_763_709_480_000}))
    return found


def test_it_tells_the_figures_and_the_time_in_the_city(tmp_path: Path) -> None:
    found = watch(tmp_path)
    found.status, found.backlog, found.fresh = STATUS, 883, True
    assert describe(found) == (
        "1,280 observations/s · committed 65,300 · duplicates 12 · quarantined 3 · open alarms 2 · waiting 883 · "
        "city time 21 Nov 16:18"
    )


def test_it_says_so_when_the_api_does_not_answer(tmp_path: Path) -> None:
    found = watch(tmp_path)
    assert describe(found) == "waiting for the API"
    found.status = STATUS
    found.look()  # nobody listens there
    assert describe(found).endswith("(no news from the API)")


def test_a_terminal_has_one_line_that_is_rewritten_and_never_wraps() -> None:
    out = Terminal()
    line = Line(out)
    line.show("first")
    line.show("x" * 500)
    line.end()
    line.end()
    assert out.getvalue().startswith(f"\r{CLEAR}first\r{CLEAR}xxx")
    assert out.getvalue().count("\n") == 1 and len(out.getvalue()) < 400


def test_elsewhere_there_is_a_line_every_ten_seconds() -> None:
    out = io.StringIO()
    line = Line(out)
    for now_s in range(100, 131):
        if line.due(float(now_s)):
            line.show(f"at {now_s}")
    assert out.getvalue() == "at 100\nat 110\nat 120\nat 130\n"
