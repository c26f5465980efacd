"""The numbered migrations, as files."""

from ingest_service.store import migrate


def test_each_migration_has_a_number_of_its_own_without_a_gap():
    """Two of one number: the second would pass for applied."""
    numbers = [int(file.name[:4]) for file in migrate.files()]
    assert numbers == list(range(1, len(numbers) + 1))
