"""Recordings: every cell is accounted for, local times are told apart, wrong maps are refused."""

import gzip
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from firmware_sim.recordings import places, recording, recording_map
from firmware_sim.recordings.instants import Instants
from firmware_sim.recordings.recording import slug
from firmware_sim.recordings.recording_map import MapError, Time
from firmware_sim.recordings.stream import RecordedBlocks, shift_to_now
from firmware_sim.recordings.table import TableError
from firmware_sim.stream import Stream
from tests.unit.firmware_sim.city_fixture import PROFILES, read_all

CITY = Path(__file__).parents[3].parent / "shared" / "data" / "city"
recorded_here = pytest.mark.skipif(not CITY.is_dir(), reason=f"the real recordings are not at {CITY}")

WIDE = """
title = "t"
source = "s"
licence = "l"
kind = "off_street_parking"
layout = "wide"
empty = "none"
[time]
column = "at"
[devices]
ignore = ["comment"]
[[values]]
property = "available_spot_number"
unit = "1"
[meta]
file = "meta.csv"
key = "id"
label = "name"
latitude = "lat"
longitude = "lon"
attributes = { total_spot_number = "all" }
[[municipalities]]
code = "xx-town"
name = { en = "Town", ko = "시" }
latitude = 50.0
longitude = 8.0
time_zone = "Europe/Berlin"
prefix = "town-"
"""


def read(tmp_path, table, text=WIDE, name="data.csv"):
    (tmp_path / "map.toml").write_text(text)
    (tmp_path / name).write_text(table)
    found = recording_map.read(tmp_path / "map.toml", PROFILES)
    return recording.read(tmp_path / name, found, PROFILES[found.kind])


def by_name(found):
    return {device.name: device.observations for device in found.devices}


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_every_cell_is_an_observation_empty_or_refused_with_its_reason(tmp_path):
    rows = (
        "2026-01-01T00:00:00Z,5,,x,7",
        "sometime,6,,,",
        "2026-01-01T00:05:00Z,-3,many,y,",
        "2026-01-01T00:10:00Z,4.0,1.5,,",
    )
    table = "\n".join(("at,town-a,town-b,comment,elsewhere", *rows, ""))
    found = read(tmp_path, table)
    assert by_name(found) == {
        "town-a": {
            at("2026-01-01T00:00:00+00:00"): {"available_spot_number": 5},
            at("2026-01-01T00:05:00+00:00"): {"available_spot_number": -3},
            at("2026-01-01T00:10:00+00:00"): {"available_spot_number": 4},
        },
        "town-b": {},
    }
    account = found.account
    assert (account.read, account.observations, account.empty) == (12, 3, 5)
    assert account.refused == {"no_municipality": 1, "time_unreadable": 1, "not_a_number": 1, "not_an_integer": 1}
    assert account.balanced()


def test_an_empty_cell_may_hold_the_last_value(tmp_path):
    table = "at,town-a,comment\n2026-01-01T00:00:00Z,,\n2026-01-01T00:05:00Z,5,\n2026-01-01T00:10:00Z,,\n"
    found = read(tmp_path, table, WIDE.replace('empty = "none"', 'empty = "last"'))
    assert [v["available_spot_number"] for v in by_name(found)["town-a"].values()] == [5, 5]
    assert (found.account.carried, found.account.empty) == (1, 1) and found.account.balanced()


def test_identical_rows_are_one_and_differing_ones_at_one_instant_are_both_kept(tmp_path):
    table = "at,town-a,comment\n" + "".join(f"2026-01-01T00:00:00Z,{value},\n" for value in (5, 5, 6, 6))
    found = read(tmp_path, table)
    first = at("2026-01-01T00:00:00+00:00")
    assert {t - first: v["available_spot_number"] for t, v in by_name(found)["town-a"].items()} == {0: 5, 1: 6}
    assert (found.account.duplicates, found.account.moved) == (2, 1) and found.account.balanced()


def test_local_times_that_come_twice_or_never_are_told_apart():
    def check(text, policy, expected, note):
        found, said = Instants(Time(column="t", zone="Europe/London", **policy)).read(text)
        assert (found, said) == (None if expected is None else at(expected), note)

    check("2016-07-01 12:00:00", {}, "2016-07-01T11:00:00+00:00", "")
    check("2016-10-30 01:30:00", {}, "2016-10-30T00:30:00+00:00", "ambiguous")
    check("2016-10-30 01:30:00", {"ambiguous": "later"}, "2016-10-30T01:30:00+00:00", "ambiguous")
    check("2016-10-30 01:30:00", {"ambiguous": "refuse"}, None, "ambiguous")
    check("2016-03-27 01:30:00", {}, "2016-03-27T01:30:00+00:00", "nonexistent")
    check("2016-03-27 01:30:00", {"nonexistent": "refuse"}, None, "nonexistent")
    check("2016-10-30 01:30:00+01:00", {}, "2016-10-30T00:30:00+00:00", "")
    check("2016-13-01 00:00:00", {}, None, "unreadable")


def test_unix_times_and_patterns_are_read():
    assert Instants(Time(column="t", format="unix_s")).read("1480000000.5") == (1_480_000_000_500, "")
    assert Instants(Time(column="t", format="unix_ms")).read("1480000000500") == (1_480_000_000_500, "")
    pattern = Time(column="t", format="%d.%m.%Y %H:%M", zone="Europe/Berlin")
    assert Instants(pattern).read("01.07.2026 14:30") == (at("2026-07-01T12:30:00+00:00"), "")
    assert Instants(Time(column="t")).read(datetime(2026, 7, 1, 12, tzinfo=UTC)) == (
        at("2026-07-01T12:00:00+00:00"),
        "",
    )


def test_names_become_names_of_devices_and_two_that_collide_are_refused(tmp_path):
    assert slug("Parkhaus Süd / Straße 3") == "Parkhaus-Sud-Strasse-3"
    with pytest.raises(TableError, match="no letter"):
        slug("주차장")
    with pytest.raises(TableError, match="already"):
        read(tmp_path, "at,town-a b,town-a/b,comment\n2026-01-01T00:00:00Z,1,2,\n")


def test_parquet_reads_like_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(
        {
            "at": [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 5, tzinfo=UTC)],
            "town-a": [5, None],
            "comment": ["", None],
        }
    )
    parquet.write_table(table, tmp_path / "data.parquet")
    (tmp_path / "map.toml").write_text(WIDE)
    found = recording_map.read(tmp_path / "map.toml", PROFILES)
    read_in = recording.read(tmp_path / "data.parquet", found, PROFILES[found.kind])
    assert by_name(read_in) == {"town-a": {at("2026-01-01T00:00:00+00:00"): {"available_spot_number": 5}}}
    assert read_in.account.balanced() and read_in.account.empty == 1


def test_wrong_maps_are_refused_with_file_key_and_value(tmp_path):
    def check(old, new, expected):
        assert old in WIDE
        file = tmp_path / "bad.toml"
        file.write_text(WIDE.replace(old, new))
        with pytest.raises(MapError) as refused:
            recording_map.read(file, PROFILES)
        assert f"{file}: {expected}" in str(refused.value)

    check('kind = "off_street_parking"', 'kind = "toaster"', "kind = 'toaster'")
    check('layout = "wide"', 'layout = "tall"', "layout = 'tall'")
    check('column = "at"', 'column = "at"\nzone = "Mars/Base"', "time.zone = 'Mars/Base'")
    check('property = "available_spot_number"', 'property = "speed"', "values.0.property = 'speed'")
    check('unit = "1"', 'unit = "%"', "values.0.unit = '%'")
    check('code = "xx-town"', 'code = "XX"', "municipalities.0.code = 'XX'")
    check("latitude = 50.0", 'latitude = "north"', "municipalities.0.latitude = 'north'")
    check('empty = "none"', 'empty = "none"\nholes = 3', "holes = 3")
    check('title = "t"', "", "title = None")


def test_a_table_that_lacks_a_column_of_the_map_is_refused(tmp_path):
    with pytest.raises(TableError, match="no column 'at'"):
        read(tmp_path, "time,town-a,comment\n")
    with pytest.raises(TableError, match="stands there twice"):
        read(tmp_path, "at,town-a,town-a,comment\n")


def test_the_fleet_takes_places_from_the_meta_table_and_rings_for_the_rest(tmp_path):
    (tmp_path / "meta.csv").write_text("id,name,all,lat,lon\ntown-a,Garage A,120.0,50.01,8.02\ntown-b,Garage B,,,\n")
    found = read(tmp_path, "at,town-a,town-b,town-c,comment\n2026-01-01T00:00:00Z,1,2,3,\n")
    made = places.fleet_of(found, tmp_path / "data.csv")
    a, b, c = made["devices"]
    assert (a["latitude"], a["longitude"], a["label"]["en"], a["attributes"]) == (
        50.01,
        8.02,
        "Garage A",
        {"total_spot_number": 120},
    )
    assert b["label"]["en"] == "Garage B" and b["attributes"] == {"position": "approximate"} and c["label"]["en"] == "c"
    assert all(abs(row["latitude"] - 50) < 0.01 for row in (b, c)) and b["latitude"] != c["latitude"]
    assert made["agents"] == [{"municipality": "xx-town", "agent": "recorder-01", "replay": True}]


def test_shifting_moves_by_whole_days_to_end_before_now(tmp_path):
    found = read(tmp_path, "at,town-a,comment\n2026-01-01T00:00:00Z,1,\n2026-01-03T06:00:00Z,2,\n")
    now = at("2026-05-05T05:00:00+00:00")
    shift = shift_to_now(found, now)
    assert shift % 86_400_000 == 0 and 0 <= now - (found.span_ms()[1] + shift) < 86_400_000


def play(file, name):
    found = recording_map.read(recording_map.find(name), PROFILES)
    read_in = recording.read(file, found, PROFILES[found.kind])
    rows = []
    for agent, blocks in RecordedBlocks.of(read_in, 0, 1_000).items():
        rows += [(agent, *row) for row in read_all(Stream(blocks), blocks.end_ms(0))]
    return read_in, rows


STATES = (
    WIDE.replace('layout = "wide"', 'layout = "long"')
    .replace('column = "at"', 'column = "at"\nsince = "since"')
    .replace('ignore = ["comment"]', 'column = "bay"\nplace = "where"')
    .replace('property = "available_spot_number"', 'property = "available_spot_number"\ncolumn = "free"')
)
STATES = STATES[: STATES.index("[meta]")] + STATES[STATES.index("[[municipalities]]") :]


def test_a_table_of_states_tells_when_they_began_and_where(tmp_path):
    table = "at,since,bay,free,where\n" + "".join(
        f"2026-01-03T00:00:00Z,{since},town-{bay},5,{where}\n"
        for since, bay, where in (
            ("2026-01-01T00:00:00Z", "a", '"50.1, 8.2"'),
            ("2026-01-03T00:00:00Z", "b", '"91, 8.2"'),
            ("long ago", "c", ""),
        )
    )
    found = read(tmp_path, table, STATES)
    first, last = at("2026-01-01T00:00:00+00:00"), at("2026-01-03T00:00:00+00:00")
    assert [sorted(seen) for seen in by_name(found).values()] == [[first, last], [last], [last]]
    assert (found.account.read, found.account.observations, found.account.stood) == (3, 4, 1)
    assert found.account.balanced()
    a, b, c = places.fleet_of(found, tmp_path / "data.csv")["devices"]
    assert (a["latitude"], a["longitude"], a["attributes"]) == (50.1, 8.2, {})
    assert b["attributes"] == c["attributes"] == {"position": "approximate"}


@recorded_here
def test_the_german_fortnight_is_whole_and_holds_the_negatives_of_dusseldorf():
    file = CITY / "parking_garages_de" / "free_spaces_2026-06-01_2026-06-14.csv.gz"
    with gzip.open(file, "rt") as lines:
        filled = sum(1 for line in list(lines)[1:] for cell in line.rstrip("\n").split(",")[1:] if cell)
    found, rows = play(file, "garages_de")
    assert filled == 206_670 == found.account.observations + sum(found.account.refused.values())
    assert found.account.balanced() and len(rows) == found.account.observations
    assert len({(agent, device, at_ms) for agent, _, _, device, at_ms, _ in rows}) == len(rows)
    negative = [row for row in rows if row[5]["available_spot_number"] < 0]
    assert len(negative) == 250 and {row[0] for row in negative} == {"de-duesseldorf/recorder-01"}


@recorded_here
def test_the_change_of_clocks_is_a_gap_of_75_minutes():
    _, rows = play(CITY / "parking_garages_de" / "free_spaces_dst_2025-10-25_2025-10-27.csv.gz", "garages_de")
    night = sorted(
        {row[4] for row in rows if at("2025-10-25T22:00:00+00:00") < row[4] < at("2025-10-26T06:00:00+00:00")}
    )
    gap, before = max((b - a, a) for a, b in pairwise(night))
    assert round(gap / 60_000) == 75 and before // 60_000 * 60_000 == at("2025-10-26T00:45:00+00:00")


@recorded_here
def test_birmingham_and_edinburgh_are_whole():
    found, rows = play(CITY / "parking_birmingham" / "birmingham_2016-10-04_2016-11-13.csv.gz", "birmingham")
    assert (found.account.read, found.account.duplicates, len(rows)) == (
        18_954,
        118,
        18_836,
    ) and found.account.balanced()
    assert min(row[5]["occupied_spot_number"] for row in rows) == -8
    found, rows = play(CITY / "bins_edinburgh" / "enevo_collections_sites_mod3_1_2.csv.gz", "edinburgh")
    assert len(rows) == 6_752 and found.account.balanced()
    assert max(row[5]["filling_level"] for row in rows) == 0.8


@recorded_here
def test_melbournes_bays_and_the_lamp_of_heed_are_whole():
    bays = "on-street-parking-bay-sensors_2024-12-09.csv.gz"
    found, rows = play(CITY / "parking_bays_melbourne" / bays, "melbourne")
    assert (found.account.read, found.account.refused, len(found.devices)) == (3296, {}, 3296)
    assert found.account.balanced() and len(rows) == 3296 + found.account.stood
    assert all(device.place for device in found.devices)
    found, rows = play(CITY / "streetlight_heed" / "bluesolar_first_part.csv.gz", "heed")
    assert found.account.balanced() and len(rows) == 2671
    assert {row[5]["current"] for row in rows} >= {0.0, 1.6}


def test_every_shipped_map_is_valid_and_states_where_its_data_comes_from():
    assert {"garages_de", "birmingham", "edinburgh", "melbourne", "heed"} <= set(recording_map.shipped_names())
    for name in recording_map.shipped_names():
        found = recording_map.read(recording_map.find(name), PROFILES)
        assert found.source and found.licence
