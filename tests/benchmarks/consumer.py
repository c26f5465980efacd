"""The plain consumer that most projects write: paho hears JSON, psycopg inserts it. Two of its kinds.

each     a message is one observation: INSERT and COMMIT
message  a message is a list of observations: executemany for each kind in it, and COMMIT

  python -m tests.benchmarks.consumer each|message ACCOUNT.json DATABASE-URL SCHEMA
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from contracts import profiles as kinds

Row = dict[str, Any]


def insert(kind: str) -> str:
    """INSERT of one observation of a kind."""
    names = ["device", "observed_at", *kinds.load(environ={})[kind].properties]
    return f"INSERT INTO peer_{kind} ({', '.join(names)}) VALUES ({', '.join(f'%({name})s' for name in names)})"


def main(way: str, account_file: str, url: str, schema: str) -> None:
    account = json.loads(Path(account_file).read_text())
    profiles = kinds.load(environ={})
    statements = {kind: insert(kind) for kind in profiles}
    missing = {kind: dict.fromkeys(profile.properties) for kind, profile in profiles.items()}
    connection = psycopg.connect(url, options=f"-csearch_path={schema}", autocommit=False)
    cursor = connection.cursor()

    def row(item: Row) -> Row:
        at = datetime.fromtimestamp(item["observed_at"] / 1000, UTC)
        return {**missing[item["kind"]], **item, "observed_at": at}

    def on_each(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        item = json.loads(message.payload)
        cursor.execute(statements[item["kind"]], row(item))
        connection.commit()

    def on_list(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        rows: dict[str, list[Row]] = {}
        for item in json.loads(message.payload):
            rows.setdefault(item["kind"], []).append(row(item))
        for kind, some in rows.items():
            cursor.executemany(statements[kind], some)
        connection.commit()

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe("bench/#")

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="consumer", protocol=mqtt.MQTTv311)
    client.username_pw_set(account["username"], account["password"])
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = on_each if way == "each" else on_list
    client.connect(account["host"], account["port"])
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:5])
