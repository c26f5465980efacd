"""What a replay found, as one page that needs nothing else: the table, and pictures of the worst examples.

Both languages are in the page; a switch shows one of them. No script, nothing loaded, nothing of the page's own but
escaped text.
"""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import BinaryIO

from contracts.profiles import CONDITIONS, Label, Profile, Property
from ingest_service.replay import chart, marks, tally
from ingest_service.replay.detect import Result
from ingest_service.replay.episodes import Episode, begin_of, end_of
from ingest_service.replay.table import at, rate
from ingest_service.store import history

MOST_ROWS = 50_000  # of one picture
SHOWN_PERIODS = 600  # of a long episode its begin
EITHER_SIDE_PERIODS = (40, 200)  # what is shown before and after: a third of the episode, within these

WORDS: dict[str, Label] = {
    "title": {"en": "What detectors find in history", "ko": "이력 데이터 탐지 결과"},
    "partial": {
        "en": "Partial: interrupted. Every process came to {} at least.",
        "ko": "부분 결과: 중단되었습니다. 모든 프로세스가 최소 {}까지 처리했습니다.",
    },
    "span": {"en": "Span (UTC)", "ko": "기간 (UTC)"},
    "beginning": {"en": "the beginning", "ko": "처음"},
    "observations": {"en": "Observations", "ko": "관측값"},
    "devices": {"en": "Devices", "ko": "장치"},
    "device_days": {"en": "Device-days", "ko": "장치·일"},
    "changed": {"en": "Parameters to try", "ko": "시험 매개변수"},
    "now": {"en": "profile", "ko": "프로필"},
    "tried": {"en": "tried", "ko": "시험값"},
    "found": {"en": "What was found", "ko": "탐지 결과"},
    "kind": {"en": "Kind", "ko": "종류"},
    "property": {"en": "Property", "ko": "속성"},
    "detector": {"en": "Detector", "ko": "탐지기"},
    "episodes": {"en": "Episodes", "ko": "경보 건수"},
    "rate": {"en": "a device-day", "ko": "장치·일당"},
    "open": {"en": "Open at the end", "ko": "종료 시 미해제"},
    "both": {"en": "In both", "ko": "공통"},
    "only": {"en": "Only {}", "ko": "{}에만"},
    "nothing": {"en": "Nothing was found.", "ko": "탐지된 것이 없습니다."},
    "marks": {"en": "Alarms that people have judged", "ko": "운영자가 판정한 경보"},
    "cause": {"en": "Closed as", "ko": "판정"},
    "alarms": {"en": "Alarms", "ko": "경보"},
    "same": {"en": "found", "ko": "탐지됨"},
    "other": {"en": "by another detector", "ko": "다른 탐지기로 탐지"},
    "gone": {"en": "not found", "ko": "탐지되지 않음"},
    "real": {"en": "real", "ko": "실제"},
    "false": {"en": "false", "ko": "오경보"},
    "planned_work": {"en": "planned work", "ko": "계획 작업"},
    "examples": {"en": "Worst examples", "ko": "가장 심한 사례"},
    "profiles": {"en": "profiles", "ko": "현재 프로필"},
    "config": {"en": "config", "ko": "시험 설정"},
    "to_the_end": {"en": "to the end", "ko": "끝까지"},
    "goes_on": {"en": "begin of a longer episode", "ko": "더 긴 경보의 시작 부분"},
    "legend": {
        "en": "Line: observed; shaded: expected band; bar at the foot: alarm.",
        "ko": "선: 관측값, 음영: 기대 범위, 아래 막대: 경보.",
    },
}


def write(result: Result, file: BinaryIO) -> None:
    """The page; reads the series of its examples from the result's snapshot."""
    for part in _page(result):
        file.write(part.encode())


def _page(result: Result) -> Iterator[str]:
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{WORDS['title']['en']} · {WORDS['title']['ko']}</title><style>{style}</style></head><body>\n"
        '<input type="radio" name="language" id="en" checked><input type="radio" name="language" id="ko">'
        '<nav><label for="en">English</label><label for="ko" lang="ko">한국어</label></nav>\n<main>'
    )
    yield f"<h1>{say('title')}</h1>\n"
    if not result.complete:
        yield f'<p class="partial">{say("partial", at(result.until_ms))}</p>\n'
    yield from _summary(result)
    yield from _table(result)
    yield from _marks(result)
    yield from _examples(result)
    yield "</main></body></html>\n"


def _summary(result: Result) -> Iterator[str]:
    wish = result.wish
    begin = escape(f"{wish.begin:%Y-%m-%d %H:%M}") if wish.begin else say("beginning")
    facts = (
        ("span", f"{begin} – {at(result.until_ms)}"),
        ("observations", f"{result.observations:,}"),
        ("devices", f"{sum(result.devices.values()):,}"),
        ("device_days", f"{sum(result.device_days.values()):,.1f}"),
    )
    yield "<dl>" + "".join(f"<div><dt>{say(word)}</dt><dd>{fact}</dd></div>" for word, fact in facts) + "</dl>\n"
    if wish.changed:
        yield f"<h2>{say('changed')}</h2>" + _rows(
            ["", say("now"), say("tried")],
            [[f"<code>{escape(key)}</code>", _value(before), _value(after)] for key, before, after in wish.changed],
        )


def _table(result: Result) -> Iterator[str]:
    names = result.names
    heads = [say("kind"), say("property"), say("detector")]
    if len(names) == 1:
        heads += [say("episodes"), say("devices"), say("rate"), say("open")]
    else:
        heads += [*(say(name) for name in names), say("both"), *(only(name) for name in names)]
    rows = []
    for (kind, name, detector), row in result.rows.items():
        profile = result.profiles[0][kind]
        cells = [label(profile.label), label(profile.properties[name].label) if name else "", word_of(detector)]
        if len(names) == 1:
            often = rate(row, 0, result.device_days.get(kind, 0.0))
            counts = [f"{row.episodes[0]:,}", f"{row.devices[0]:,}"]
            cells += [*counts, "" if often is None else f"{often:.4f}", f"{row.open[0]:,}"]
        else:
            cells += [f"{count:,}" for count in (*row.episodes, row.both, *row.alone)]
        rows.append(cells)
    yield f"<h2>{say('found')}</h2>"
    yield _rows(heads, rows) if rows else f"<p>{say('nothing')}</p>\n"


def _marks(result: Result) -> Iterator[str]:
    if not result.marks:
        return
    fates = ("same", "other", "gone")
    many = len(result.names) > 1
    heads = [say("cause"), say("alarms")]
    heads += [f"{say(name)}: {say(fate)}" if many else say(fate) for name in result.names for fate in fates]
    counts = [marks.counted(result.marks, number) for number in range(len(result.names))]
    rows = [
        [say(cause), f"{counts[0][cause]['all']:,}", *(f"{count[cause][fate]:,}" for count in counts for fate in fates)]
        for cause in counts[0]
    ]
    yield f"<h2>{say('marks')}</h2>" + _rows(heads, rows)


def _examples(result: Result) -> Iterator[str]:
    if not result.rows:
        return
    yield f"<h2>{say('examples')}</h2><p>{say('legend')}</p>\n"
    if len(result.names) > 1:
        keys = "".join(f'<span class="key{number}">{say(name)}</span>' for number, name in enumerate(result.names))
        yield f'<p class="keys">{keys}</p>\n'
    for (kind, name, detector), row in result.rows.items():
        profile = result.profiles[0][kind]
        what = [label(profile.label), label(profile.properties[name].label) if name else "", word_of(detector)]
        yield f"<section><h3>{' · '.join(word for word in what if word)}</h3>\n"
        for sort in ("1", "0", "both", "all"):
            chosen = row.examples.get(sort, [])
            if chosen and sort in ("0", "1"):
                yield f"<h4>{only(result.names[int(sort)])}</h4>"
            elif chosen and sort == "both":
                yield f"<h4>{say('both')}</h4>"
                chosen = chosen[: 1 if "0" in row.examples or "1" in row.examples else tally.EXAMPLES]
            for episode in chosen:
                yield _figure(result, profile, episode)
        yield "</section>\n"


def _figure(result: Result, profile: Profile, episode: Episode) -> str:
    period_ms = profile.report_period_s * 1000
    began_ms, ended_ms = begin_of(episode), end_of(episode)
    length_ms = (result.until_ms if ended_ms is None else ended_ms) - began_ms
    shown_ms = min(length_ms, SHOWN_PERIODS * period_ms)
    least, most = EITHER_SIDE_PERIODS
    beside_ms = min(max(length_ms // 3, least * period_ms), most * period_ms)
    begin_ms, end_ms = began_ms - beside_ms, began_ms + shown_ms + beside_ms
    end_ms = end_ms if ended_ms is not None or shown_ms < length_ms else result.until_ms
    item = _charted(profile, episode)
    at_ms, columns = history.series(result.snapshot, profile, episode.device_id, begin_ms, end_ms, MOST_ROWS)
    picture = chart.svg(item, at_ms, columns[item.name], episode.sides, begin_ms, end_ms)
    until = say("to_the_end") if ended_ms is None else at(ended_ms)
    cut = f" ({say('goes_on')})" if shown_ms < length_ms else ""
    unit = f" [{escape(item.unit)}]" if item.unit not in ("", "1") else ""
    place = f"{escape(episode.municipality)}/{escape(episode.device)}"
    said = f"{label(item.label)}{unit}{_said(item, episode)}"
    words = f"<b>{place}</b> {at(began_ms)} – {until}{cut}<br>{said}"
    return f"<figure><figcaption>{words}</figcaption>{picture}</figure>\n"


def _said(item: Property, episode: Episode) -> str:
    """Value and band of the first finding, of what is charted."""
    if episode.property is None:
        return ""
    side = next(side for side in episode.sides if side is not None)
    values = side.evidence.get("values")
    if not values or values[-1] is None or not item.numeric:
        return ""
    low, high = side.evidence.get("low"), side.evidence.get("high")
    band = "" if low is None and high is None else f" ({_value(low)} … {_value(high)})"
    return f": {_value(values[-1])}{band}"


def _charted(profile: Profile, episode: Episode) -> Property:
    if episode.property is not None:
        return profile.properties[episode.property]
    headline = profile.properties[profile.display.headline]
    return headline if headline.numeric else next(iter(profile.numeric), headline)


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def _value(value: object) -> str:
    return "–" if value is None else escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def only(name: str) -> str:
    """`only` of a set of parameters, in both languages."""
    return label({language: text.format(WORDS[name][language]) for language, text in WORDS["only"].items()})


def word_of(detector: str) -> str:
    return label(CONDITIONS[detector]) if detector in CONDITIONS else escape(detector)


def say(word: str, *values: str) -> str:
    return label({language: text.format(*values) for language, text in WORDS[word].items()})


def label(words: Label) -> str:
    """A text in both languages, of which the page shows one."""
    return "".join(
        f'<span class="{language}" lang="{language}">{escape(words[language])}</span>' for language in ("en", "ko")
    )
