"""The demo's folder: a name for each configuration, one holder, no mixing of two cities, passwords that stay."""

import json
import stat
from pathlib import Path

import msgspec
import pytest

from deploy.demo.state import Configuration, Folder, StateError

CITY = Configuration(200, 3, 1, 60.0)
FLEET = {"municipalities": [{"code": "41280"}], "agents": [], "devices": []}


def test_each_configuration_has_a_folder_name_of_its_own() -> None:
    recording = msgspec.structs.replace(CITY, recording="/data/free spaces.csv.gz", map="garages_de")
    all_of_them = [
        CITY,
        msgspec.structs.replace(CITY, devices=201),
        msgspec.structs.replace(CITY, agents=4),
        msgspec.structs.replace(CITY, seed=2),
        msgspec.structs.replace(CITY, speed=60.5),
        msgspec.structs.replace(CITY, database="0123456789abcdef"),
        recording,
        msgspec.structs.replace(recording, map="other"),
        msgspec.structs.replace(recording, recording="/elsewhere/free spaces.csv.gz"),
    ]
    names = [configuration.folder_name for configuration in all_of_them]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in names)


def test_what_was_begun_goes_on_only_as_it_was_begun(tmp_path: Path) -> None:
    first = Folder(tmp_path / "a", CITY, fresh=False, schema=None)
    first.clear()
    assert first.is_new
    first.release()
    again = Folder(tmp_path / "a", CITY, fresh=False, schema=None)
    assert not again.is_new and again.begun.schema == first.begun.schema
    again.release()
    with pytest.raises(StateError, match=r"devices = 201: .*begun with 200.*--fresh"):
        Folder(tmp_path / "a", msgspec.structs.replace(CITY, devices=201), fresh=False, schema=None)


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    first = Folder(tmp_path / "a", CITY, fresh=False, schema=None)
    with pytest.raises(StateError, match=r"another demo \(process \d+\) runs on"):
        Folder(tmp_path / "a", CITY, fresh=True, schema=None)
    first.release()


def test_fresh_deletes_what_was_there(tmp_path: Path) -> None:
    first = Folder(tmp_path / "a", CITY, fresh=False, schema=None)
    first.clear()
    (tmp_path / "a" / "database" / "data").mkdir(parents=True)
    (tmp_path / "a" / "fleet.json").write_text("{}")
    first.release()
    fresh = Folder(tmp_path / "a", msgspec.structs.replace(CITY, seed=9), fresh=True, schema=None)
    fresh.clear()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["demo.json", "demo.lock"]
    assert fresh.begun.configuration.seed == 9
    fresh.release()


def test_a_demo_that_was_killed_before_it_began_begins_anew(tmp_path: Path) -> None:
    Folder(tmp_path / "a", CITY, fresh=False, schema=None).release()
    assert Folder(tmp_path / "a", CITY, fresh=False, schema=None).is_new


def test_passwords_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a", CITY, fresh=False, schema=None)
    folder.clear()
    folder.write("fleet.json", json.dumps(FLEET).encode())
    made = folder.accounts()
    assert [(one.role, one.municipality) for one in made] == [("admin", None), ("operator", "41280")]
    assert made[0].password != made[1].password and min(len(one.password) for one in made) > 15
    assert folder.accounts() == made
    assert stat.S_IMODE((folder.path / "accounts.json").stat().st_mode) == 0o600
    folder.release()
