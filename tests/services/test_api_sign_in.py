# ruff: noqa: E501
"""Signing in and out, sessions, roles, and the cookie's protection from other sites."""

from tests.services.api_fixture import PASSWORD, City, application, city, client_of, connected, problem, sign_in

__all__ = ["city"]
GOOD = {"name": "operator", "password": PASSWORD}


async def test_a_token_and_a_cookie_both_sign_in(city: City) -> None:
    async with client_of(city, None) as client:
        problem(await client.get("/api/v1/session"), 401)
        answer = await client.post("/api/v1/sign-in", json=GOOD)
        assert answer.json()["account"] == {
            "name": "operator",
            "role": "operator",
            "municipality": "41480",
            "language": "ko",
        }
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert (await client.get("/api/v1/session")).json()["account"]["name"] == "operator"
        client.cookies.clear()
        problem(await client.get("/api/v1/session"), 401)
        bearer = {"Authorization": f"Bearer {answer.json()['token']}"}
        assert (await client.get("/api/v1/session", headers=bearer)).status_code == 200
        problem(await client.get("/api/v1/session", headers={"Authorization": "Bearer made-up"}), 401)


async def test_tokens_are_stored_hashed_only(city: City) -> None:
    async with client_of(city) as client:
        token = client.headers["Authorization"].removeprefix("Bearer ")
    stored = city.run("SELECT encode(token_hash, 'escape') || encode(token_hash, 'base64') FROM session")
    assert stored
    assert not any(token in row[0] for row in stored)


async def test_signing_out_ends_the_session(city: City) -> None:
    async with client_of(city) as client:
        assert (await client.post("/api/v1/sign-out")).status_code == 204
        problem(await client.get("/api/v1/session"), 401)


async def test_a_session_slides_while_used_and_ends_when_not(city: City) -> None:
    async with client_of(city) as client:
        city.run("UPDATE session SET expires_at = now() + interval '1 hour'")
        before = (await client.get("/api/v1/session")).json()["expires_at"]
        after = (await client.get("/api/v1/session")).json()["expires_at"]
        assert after == before  # extended at the first use already
        assert city.run(
            "SELECT bool_and(expires_at > now() + interval '11 hours 59 minutes') FROM session WHERE expires_at > now() + interval '2 hours'"
        ) == [(True,)]
        city.run("UPDATE session SET expires_at = now() - interval '1 second'")
        problem(await client.get("/api/v1/session"), 401)


async def test_failed_sign_ins_are_limited_by_account_and_address(city: City) -> None:
    async with client_of(city, None, sign_in_failures=3) as client:
        for _ in range(3):
            problem(await client.post("/api/v1/sign-in", json={**GOOD, "password": "wrong"}), 401)
        answer = await client.post("/api/v1/sign-in", json=GOOD)
        problem(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 61
        other = {"name": "engineer", "password": PASSWORD}
        assert (await client.post("/api/v1/sign-in", json=other)).status_code == 200


async def test_an_unknown_account_and_a_wrong_password_are_told_alike(city: City) -> None:
    async with client_of(city, None) as client:
        wrong = await client.post("/api/v1/sign-in", json={**GOOD, "password": "wrong"})
        unknown = await client.post("/api/v1/sign-in", json={**GOOD, "name": "nobody"})
    assert problem(wrong, 401) == problem(unknown, 401)


async def test_a_cookie_needs_the_same_origin_or_our_header_to_change_anything(city: City) -> None:
    async with application(city) as app, connected(app) as client:
        await client.post("/api/v1/sign-in", json=GOOD)
        path = "/api/v1/alarms/990003/close"
        problem(await client.post(path, json={"cause": "maybe"}), 403)
        problem(await client.post(path, json={"cause": "real"}, headers={"Origin": "https://evil.test"}), 403)
        problem(await client.post(path, json={"cause": "real"}, headers={"Origin": "null"}), 403)
        assert (await client.get("/api/v1/alarms/990003")).json()["state"] == "cleared"
        ours = {"Origin": "http://dure.test"}
        assert (await client.post("/api/v1/alarms/990001/acknowledge", headers=ours)).status_code == 200
        problem(await client.post("/api/v1/alarms/990001/acknowledge", headers={"X-Dure": "1"}), 409)
        foreign = {"Origin": "https://evil.test"}
        problem(await client.post("/api/v1/sign-in", json=GOOD, headers=foreign), 403)
        token = await sign_in(client, "operator")
        bearer = {"Authorization": f"Bearer {token}", "Origin": "https://app.test"}
        problem(await client.post("/api/v1/alarms/990001/acknowledge", headers=bearer), 409)  # a bearer needs neither


async def test_health_ready_and_metrics_want_no_sign_in(city: City) -> None:
    async with client_of(city, None) as client:
        assert (await client.get("/health")).json() == {"alive": True}
        assert (await client.get("/ready")).json() == {
            "ready": True,
            "database": "reachable",
            "broker": "not configured",
        }
        await client.get("/api/v1/devices")
        text = (await client.get("/metrics")).text
    assert 'dure_api_requests_total{method="GET",route="/api/v1/devices",status="401"} 1.0' in text
    for name in (
        "dure_api_stream_clients",
        "dure_api_stream_coalesced_total",
        "dure_api_broker_connected",
        "dure_api_request_seconds",
    ):
        assert name in text


async def test_ready_names_a_schema_that_is_missing_or_too_old(city: City) -> None:
    async with client_of(City(city.url, "never_made"), None) as client:
        answer = await client.get("/ready")
        assert "dure migrate" in problem(answer, 503)["detail"]
        assert "retry-after" in answer.headers
        problem(await client.post("/api/v1/sign-in", json=GOOD), 503)
    city.run("DELETE FROM profile WHERE kind = 'streetlight'")
    async with client_of(city, None) as client:
        assert "streetlight" in problem(await client.get("/ready"), 503)["detail"]
    city.run("INSERT INTO profile VALUES ('streetlight', '{}')")
