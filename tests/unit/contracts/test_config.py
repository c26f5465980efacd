"""Settings: file and environment together, and every mistake named with file (or variable), key and value."""

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from contracts import config
from contracts.config import ConfigError


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[str, Meta(description="Where to.")]
    limit: Annotated[int, Meta(description="How many.", ge=1)] = 5
    folder: Annotated[Path | None, Meta(description="A folder.")] = None
    loud: bool = False

    def __post_init__(self):
        if self.loud and self.limit > 10:
            raise ValueError("loud = True: not with a limit above 10")


def load(text=None, tmp_path=None, **environ):
    file = None
    if text is not None:
        file = tmp_path / "sample.toml"
        file.write_text(text)
    return config.load(Sample, name="sample", file=file, environ=environ)


def test_the_environment_overrides_the_file_and_defaults_fill_the_rest(tmp_path):
    found = load('[sample]\nurl = "a"\nlimit = 7\n[other]\nx = 1\n', tmp_path, DURE_SAMPLE_LIMIT="9", DURE_OTHER_X="1")
    assert found == Sample(url="a", limit=9)
    assert load(DURE_SAMPLE_URL="b", DURE_SAMPLE_FOLDER="/x", DURE_SAMPLE_LOUD="true") == Sample(
        url="b", folder=Path("/x"), loud=True
    )


def test_every_mistake_is_named(tmp_path):
    def check(message, text=None, **environ):
        with pytest.raises(ConfigError) as caught:
            load(text, tmp_path, **environ)
        assert str(caught.value).replace(str(tmp_path / "sample.toml"), "FILE").startswith(message)

    check("FILE: [sample] limti = 5: unknown key; known are folder, limit, loud, url", "[sample]\nlimti = 5\n")
    check("FILE: [sample] limit = 0: Expected `int` >= 1", '[sample]\nurl = "a"\nlimit = 0\n')
    check("FILE: [sample] limit = '5': Expected `int`, got `str`", '[sample]\nurl = "a"\nlimit = "5"\n')
    check("DURE_SAMPLE_LIMIT = 'many': ", '[sample]\nurl = "a"\n', DURE_SAMPLE_LIMIT="many")
    check("FILE: [sample] url: missing (or set DURE_SAMPLE_URL)", "[sample]\n")
    check("environment: [sample] url: missing (or set DURE_SAMPLE_URL)")
    check("FILE: [sample] = 3: not a table", "sample = 3\n")
    check("FILE: [sample] loud = True: not with a limit above 10", '[sample]\nurl = "a"\nloud = true\nlimit = 11\n')
    check("FILE: not TOML: ", "[sample\n")
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        config.load(Sample, name="sample", file=tmp_path / "nowhere.toml", environ={})


def test_settings_describe_themselves():
    found = {setting.key: setting for setting in config.settings_of(Sample, name="sample")}
    assert found["url"].required
    assert found["url"].default is None
    assert found["limit"].description == "How many."
    assert (found["limit"].variable, found["limit"].default, found["limit"].type) == ("DURE_SAMPLE_LIMIT", 5, "int")
