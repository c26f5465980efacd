"""What must hold at the end of every journey, and the proof that the checker would have noticed otherwise."""

from collections.abc import Mapping

import psycopg

from contracts import profiles as contract
from contracts.profiles import Profile
from tests.journeys import ledger
from tests.journeys.demo_process import DemoProcess
from tests.journeys.ledger import Difference, Key, Values

BATCH = 100


def assert_exactly_once(demo: DemoProcess, *, lost: int = 0) -> None:
    """Every observation generated is in the database once, as it was; found out row by row, not from the account.

    `lost` observations may be missing, no more and no less. Then a row is deleted, one doubled, one changed and a
    batch dropped, and each must turn the checker red, by name.
    """
    profiles = contract.load(environ=demo.environment)
    expected = ledger.generated(demo.state / "sim", demo.environment)
    assert len(expected) > 1000, f"hardly a load: {len(expected)}"
    with demo.database() as connection:
        found = ledger.compare(expected, connection, profiles)
        missing = set(found.missing)
        assert len(missing) == lost, str(found)
        found.missing.clear()
        assert not found, str(found)
        assert_alive(connection)
        assert_violations_are_seen(expected, connection, profiles, missing)
    report = demo.report()
    assert report["generated"] == len(expected)
    assert report["lost"] == lost
    assert report["committed_twice"] == 0


def assert_alive(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Detectors, rollups and alarms have been at work: a journey of nothing proves nothing."""

    def count(statement: str) -> int:
        row = connection.execute(statement.encode()).fetchone()
        assert row is not None
        return int(str(row[0]))

    assert count("select count(*) from alarm where detector = 'stuck'") > 0
    assert count("select count(*) from alarm where detector = 'out_of_range'") > 0
    assert count("select count(*) from rollup_hour_streetlight") > 0
    assert count("select count(*) from rollup_municipality_hour_streetlight") > 0
    assert count("select count(*) from newest_streetlight") > 0
    assert count("select sum(octet_length(body)) from detector_state") > 0


def assert_violations_are_seen(
    expected: Mapping[Key, Values],
    connection: psycopg.Connection[tuple[object, ...]],
    profiles: Mapping[str, Profile],
    missing: set[Key],
) -> None:
    """Do each kind of harm, in a transaction that is rolled back, and see it reported."""
    kind = "streetlight"
    columns = ", ".join(f"o.{name}" for name in profiles[kind].properties)
    chosen = (
        f"select o.ctid, o.tableoid from observation_{kind} o join device d using (device_id) "
        "where (d.municipality, d.name, (extract(epoch from o.observed_at) * 1000)::bigint) = (%s, %s, %s)"
    )
    keys = [key for key in expected if key[1].startswith("sl-") and key not in missing and expected[key].get("voltage")]
    victim, batch = keys[len(keys) // 2], keys[len(keys) // 3 : len(keys) // 3 + BATCH]

    def harm(statement: str, *parameters: object) -> Difference:
        connection.commit()
        cursor = connection.execute(statement.encode(), parameters)
        assert cursor.rowcount == 1
        return ledger.compare(expected, connection, profiles)

    delete = f"delete from observation_{kind} t using ({chosen}) c where t.ctid = c.ctid and t.tableoid = c.tableoid"
    seen = harm(delete, *victim)
    assert set(seen.missing) - missing == {victim} and not (seen.doubled or seen.foreign or seen.different)
    connection.rollback()
    seen = harm(
        f"insert into observation_{kind} (device_id, observed_at, {columns.replace('o.', '')}) "
        f"select o.device_id, o.observed_at, {columns} from observation_{kind} o join device d using (device_id) "
        "where (d.municipality, d.name, (extract(epoch from o.observed_at) * 1000)::bigint) = (%s, %s, %s)",
        *victim,
    )
    assert seen.doubled == [victim] and set(seen.missing) == missing and not (seen.foreign or seen.different)
    connection.rollback()
    seen = harm(
        f"update observation_{kind} t set voltage = voltage + 0.5 from ({chosen}) c "
        "where t.ctid = c.ctid and t.tableoid = c.tableoid",
        *victim,
    )
    assert [key for key, _ in seen.different] == [victim] and set(seen.missing) == missing
    connection.rollback()
    for key in batch:
        assert connection.execute(delete.encode(), key).rowcount == 1
    seen = ledger.compare(expected, connection, profiles)
    assert set(seen.missing) - missing == set(batch) and len(batch) == BATCH
    connection.rollback()
