"""The dashboard's files: caching, content security, its own page for every path, and nothing outside its folder."""

from pathlib import Path

import httpx
import pytest

from contracts import profiles
from platform_api.app import create_app
from platform_api.settings import Database, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built = tmp_path / "dist"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<title>city</title>")
    (built / "assets" / "index-abc.js").write_text("let x = 1")
    (built / ".env").write_text("hidden")
    (tmp_path / "secret.txt").write_text("treasure")
    (built / "link.txt").symlink_to(tmp_path / "secret.txt")
    return built


def client(folder: Path) -> httpx.AsyncClient:
    app = create_app(Settings(dashboard=str(folder)), Database(url="postgresql://"), profiles.load())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://dure.test")


async def test_pages_are_asked_for_again_and_hashed_files_are_kept(folder: Path) -> None:
    async with client(folder) as browser:
        page = await browser.get("/")
        assert "city" in page.text
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert "http" not in policy
        assert "worker-src 'self' blob:" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        script = await browser.get("/assets/index-abc.js")
        assert "immutable" in script.headers["cache-control"]
        assert script.headers["content-type"].startswith("text/javascript")
        assert (await browser.get("/", headers={"If-None-Match": page.headers["etag"]})).status_code == 304
        (folder / "index.html").write_text("<title>new city</title>")
        assert (await browser.get("/", headers={"If-None-Match": page.headers["etag"]})).status_code == 200


async def test_every_path_is_the_dashboards_but_not_missing_files_nor_the_api(folder: Path) -> None:
    async with client(folder) as browser:
        assert "city" in (await browser.get("/alarms/7")).text
        for path in ("/assets/gone.js", "/gone.png", "/api/v1/gone", "/api"):
            answer = await browser.get(path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_outside_the_folder_is_given_out(folder: Path) -> None:
    async with client(folder) as browser:
        for path in (
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/assets/..%2f..%2f..%2fsecret.txt",
            "/link.txt",
            "/.env",
            "/%00",
        ):
            assert "treasure" not in (await browser.get(path)).text, path
            assert "hidden" not in (await browser.get(path)).text, path


async def test_without_a_build_a_page_says_how_to_make_one(tmp_path: Path) -> None:
    async with client(tmp_path) as browser:
        page = await browser.get("/")
    assert page.status_code == 503
    assert "./run setup" in page.text
