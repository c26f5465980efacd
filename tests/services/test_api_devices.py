# ruff: noqa: E501
"""Devices, the map, the catalogue, registering: over the real application and a real database."""

from tests.services.api_fixture import NOON, City, city, client_of, problem

__all__ = ["city"]


async def test_a_device_shows_its_worst_alarm_its_newest_values_and_its_agent(city: City) -> None:
    async with client_of(city) as client:
        shown = (await client.get("/api/v1/devices/9001")).json()
    assert shown["state"] == "critical"
    assert shown["observed_at"] == NOON
    assert shown["values"]["power_state"] == "on"
    assert shown["values"]["voltage"] == 221.3
    assert shown["values"]["current"] is None
    assert (shown["agent"], shown["agent_id"]) == ("pj-pole-1", 9101)
    assert [alarm["alarm_id"] for alarm in shown["open_alarms"]] == [990001, 990002]


async def test_states_tell_silent_unknown_and_ok_apart(city: City) -> None:
    async with client_of(city) as client:
        items = (await client.get("/api/v1/devices")).json()["items"]
    states = {item["device"]: item["state"] for item in items}
    assert states["pj-sl-2"] == "unknown"  # its alarm is cleared, and it never spoke
    assert states["pj-sl-4"] == "silent"  # its agent is
    assert states["gy-sl-1"] == "critical"


async def test_pages_of_devices_join_without_loss_or_repeat(city: City) -> None:
    async with client_of(city) as client:
        seen, after = [], 0
        while after is not None:
            page = (await client.get("/api/v1/devices", params={"limit": 2, "after": after})).json()
            assert len(page["items"]) <= 2
            seen += [item["device_id"] for item in page["items"]]
            after = page["next"]
    assert seen == [7001, 7002, 9001, 9002, 9003, 9004]


async def test_devices_are_filtered_by_kind_state_and_text(city: City) -> None:
    async with client_of(city) as client:

        async def found(**parameters: str) -> list[int]:
            answer = await client.get("/api/v1/devices", params=parameters)
            return [item["device_id"] for item in answer.json()["items"]]

        assert await found(kind="waste_container") == [7002, 9003]
        assert await found(kind="airship") == []
        assert await found(state="unknown") == [9002]
        assert await found(municipality="41480", q="LIGHT") == [9001, 9002, 9004]
        assert await found(q="수거함") == [7002, 9003]
        assert await found(q="100%") == [9003]
        assert await found(q="_") == []


async def test_the_map_holds_every_device_flat_and_answers_conditionally(city: City) -> None:
    async with client_of(city) as client:
        answer = await client.get("/api/v1/devices.geojson")
        assert answer.headers["content-type"] == "application/geo+json"
        assert answer.headers["content-encoding"] == "gzip"
        again = await client.get("/api/v1/devices.geojson", headers={"If-None-Match": answer.headers["etag"]})
        plain = await client.get("/api/v1/devices.geojson", headers={"Accept-Encoding": "identity"})
        city.run("UPDATE newest_streetlight SET voltage = 218.5 WHERE device_id = 9004")
        changed = await client.get("/api/v1/devices.geojson", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    assert plain.json() == answer.json()
    features = {feature["id"]: feature for feature in answer.json()["features"]}
    assert len(features) == 6
    assert features[9001]["geometry"] == {"type": "Point", "coordinates": [126.77, 37.75]}
    properties = features[9001]["properties"]
    assert (properties["state"], properties["observed_at"], properties["power_state"]) == ("critical", NOON, "on")
    assert answer.json()["as_of"] >= NOON
    assert changed.status_code == 200
    assert [f["properties"]["voltage"] for f in changed.json()["features"] if f["id"] == 9004] == [218.5]


async def test_the_map_is_cut_to_a_box_and_refuses_a_wrong_one(city: City) -> None:
    async with client_of(city) as client:
        answer = await client.get("/api/v1/devices.geojson", params={"bbox": "126.82,37.6,126.9,37.7"})
        assert [feature["id"] for feature in answer.json()["features"]] == [7001, 7002]
        for wrong in ("1,2,3", "a,b,c,d", "10,0,5,1", "nan,0,1,1"):
            problem(await client.get("/api/v1/devices.geojson", params={"bbox": wrong}), 422)


async def test_a_kept_map_is_given_out_until_it_is_too_old(city: City) -> None:
    async with client_of(city, map_max_age_s=10.0) as client:
        first = await client.get("/api/v1/devices.geojson", params={"kind": "streetlight"})
        city.run("UPDATE newest_streetlight SET voltage = 217.25 WHERE device_id = 9004")
        second = await client.get("/api/v1/devices.geojson", params={"kind": "streetlight"})
    assert second.headers["etag"] == first.headers["etag"]


async def test_municipalities_count_devices_and_active_alarms(city: City) -> None:
    async with client_of(city) as client:
        items = (await client.get("/api/v1/municipalities")).json()["items"]
    assert [item["code"] for item in items] == ["41280", "41480"]
    assert items[1]["name"] == {"ko": "파주시", "en": "Paju-si"}
    assert items[1]["devices"] == {"streetlight": 3, "waste_container": 1}
    assert items[1]["open_alarms"] == 3


async def test_profiles_label_everything_in_both_languages(city: City) -> None:
    async with client_of(city) as client:
        answer = await client.get("/api/v1/profiles")
    shown = answer.json()
    assert shown["profiles"]["streetlight"]["properties"]["voltage"]["unit"] == "V"
    assert shown["profiles"]["streetlight"]["properties"]["voltage"]["range"] == [0.0, 1000.0]
    assert shown["profiles"]["streetlight"]["display"]["headline"] == "power_consumption"
    assert shown["conditions"]["stuck"] == {"ko": "값 고정", "en": "Stuck"}
    assert set(shown["reasons"]["unknown_device"]) == {"ko", "en"}
    assert answer.headers["content-encoding"] == "gzip"


NEW = {
    "municipality": "41480", "device": "pj-new-1", "kind": "streetlight", "agent": "pj-pole-1",
    "label": {"ko": "새 가로등", "en": "New light"}, "latitude": 37.7, "longitude": 126.7, "attributes": {"circuit": "c-9"},
}  # fmt: skip


async def test_an_engineer_registers_a_device_once_and_an_operator_never(city: City) -> None:
    async with client_of(city, "operator") as client:
        problem(await client.post("/api/v1/devices", json=NEW), 403)
    async with client_of(city, "engineer") as client:
        made = await client.post("/api/v1/devices", json=NEW)
        assert made.status_code == 201, made.text
        assert made.json()["attributes"] == {"circuit": "c-9"}
        assert made.json()["state"] == "unknown"
        problem(await client.post("/api/v1/devices", json=NEW), 409)
        on_circuit = (await client.get("/api/v1/devices", params={"circuit": "c-9"})).json()["items"]
        assert [device["device"] for device in on_circuit] == ["pj-new-1"]
        assert (await client.get("/api/v1/devices", params={"circuit": "c"})).json()["items"] == []
    city.run("DELETE FROM device WHERE name = 'pj-new-1'")


async def test_registering_refuses_what_does_not_fit(city: City) -> None:
    async with client_of(city, "engineer") as client:

        async def refused(status: int, **changes: object) -> str:
            return str(problem(await client.post("/api/v1/devices", json={**NEW, **changes}), status)["detail"])

        assert "airship" not in await refused(422, kind="airship")
        await refused(422, device="has space")
        await refused(422, latitude=91)
        await refused(422, colour="red")
        await refused(404, agent="pj-pole-9")
        await refused(404, municipality="41280", agent="gy-pole-1")
    assert city.run("SELECT count(*) FROM device WHERE name = 'pj-new-1'") == [(0,)]


async def test_every_error_has_the_one_shape(city: City) -> None:
    async with client_of(city) as client:
        assert "colour" in problem(await client.get("/api/v1/devices?colour=red"), 422)["detail"]
        assert problem(await client.get("/api/v1/devices?limit=0"), 422)["errors"][0]["where"] == "query.limit"
        problem(await client.get("/api/v1/devices/99999999999"), 422)
        problem(await client.get("/api/v1/devices/4242"), 404)
        problem(await client.get("/api/v1/nothing"), 404)
        problem(await client.get("/api/v1/devices/1/nothing"), 404)
        problem(await client.delete("/api/v1/devices"), 405)
        problem(await client.post("/api/v1/devices", content=b"{", headers={"Content-Type": "application/json"}), 422)
        problem(await client.post("/api/v1/devices", content=b" " * 70_000), 413)
        problem(await client.get("/api/v1/devices/9001/series?properties=mood"), 422)

        async def chunks():  # type: ignore[no-untyped-def]
            for _ in range(10):
                yield b" " * 10_000

        problem(await client.post("/api/v1/devices", content=chunks()), 413)


async def test_a_bug_is_answered_in_the_same_shape_without_its_words(city: City, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from platform_api.routes import catalogue

    async def broken(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(catalogue, "municipalities", broken)
    async with client_of(city) as client:
        answer = await client.get("/api/v1/municipalities")
    problem(answer, 500)
    assert "secret" not in answer.text
