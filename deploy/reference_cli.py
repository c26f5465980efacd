"""`dure reference`: writes the reference pages from the code, so that they cannot say anything else than it.

Kinds from the profiles, settings from the settings classes, metrics, quarantine reasons and topics from contracts, the
API from its OpenAPI document. A test holds that the committed pages are what this command writes.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from contracts import config, metrics, profiles, readiness, reasons, topics, wire
from contracts.check_cli import SECTIONS
from contracts.profiles import Profile, Property

ROOT = Path(__file__).resolve().parent.parent
HEAD = "<!-- Made by `./run dure reference`; edit the code it is made from instead. -->\n\n"

CHANNELS = {
    topics.Channel.BATCH: ("agent", "ingest", "Batches of observations, and heartbeats: a binary header and a body."),
    topics.Channel.CURSOR: ("ingest", "agent", "How far an epoch is committed: the reply to a batch, after COMMIT."),
    topics.Channel.COMMAND: ("api", "agent", "What the platform asks of a device. Reserved: no service sends it yet."),
    topics.Channel.LIVE: ("ingest", "api", "What a committed flush changed: newest observations and alarms."),
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure reference",
        description="Write the reference pages (kinds, settings, metrics, quarantine, topics, API) from the code.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference", help="folder to write to")
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (given.out / name).write_text(text, encoding="utf-8")
        print(given.out / name)
    return 0


def pages() -> dict[str, str]:
    """Every page by file name."""
    kinds = profiles.load(profiles.SHIPPED)
    document = openapi()
    return {
        "kinds.md": kinds_page(kinds),
        "settings.md": settings_page(),
        "metrics.md": metrics_page(),
        "quarantine.md": quarantine_page(),
        "topics.md": topics_page(),
        "asyncapi.json": json.dumps(asyncapi(kinds), indent=2, ensure_ascii=False) + "\n",
        "openapi.json": json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
        "api.md": api_page(document),
    }


def kinds_page(kinds: dict[str, Profile]) -> str:
    parts = [
        "# Kinds of devices\n",
        "A kind is one file, `contracts/profiles/<kind>.toml`. A new kind is a new file there, or in a folder named in "
        "`DURE_PROFILES`, followed by `dure migrate`. On the wire and in JSON an enum is a word; the database stores "
        "its place in the list.\n",
    ]
    for kind, profile in kinds.items():
        parts += [
            f"## {kind} — {profile.label['en']}, {profile.label['ko']}\n",
            f"NGSI-LD type `{profile.ngsi_type}`. Reports every {profile.report_period_s} s; silent after "
            f"{profile.silent_after_periods} missed reports. Rollups: {', '.join(profile.rollups)}.\n",
            "| property | label | type | unit | plausible | detectors | NGSI-LD |\n|---|---|---|---|---|---|---|",
            *[_property_row(item) for item in profile.properties.values()],
            "",
        ]
    parts += [
        "## Conditions\n",
        "| condition | English | Korean |\n|---|---|---|",
        *[f"| `{name}` | {label['en']} | {label['ko']} |" for name, label in profiles.CONDITIONS.items()],
        "",
    ]
    return HEAD + "\n".join(parts)


def _property_row(item: Property) -> str:
    what = f"enum: {', '.join(item.values)}" if item.values else item.type
    plausible = f"{item.plausible[0]:g} to {item.plausible[1]:g}" if item.plausible else ""
    chosen = []
    for name in profiles.Detectors.__struct_fields__:
        limits = getattr(item.detectors, name)
        if limits is not None:
            said = {key: getattr(limits, key) for key in limits.__struct_fields__}
            shown = ", ".join(f"{key} {value}" for key, value in said.items() if value not in (None, (), {}))
            chosen.append(f"{name} ({shown})")
    label = f"{item.label['en']}, {item.label['ko']}"
    cells = (
        f"`{item.name}`",
        label,
        what,
        f"{item.unit} {item.unit_code}",
        plausible,
        "; ".join(chosen),
        f"`{item.ngsi}`",
    )
    return f"| {' | '.join(cells)} |"


def settings_page() -> str:
    parts = [
        "# Settings\n",
        "Each service reads its table of a TOML file given with `--config`; a variable overrides it. Unknown keys are "
        "refused. `dure check FILE` says whether a file can be used. Annotated samples: `deploy/config/`.\n",
    ]
    for name, place in SECTIONS.items():
        module, _, cls = place.partition(":")
        section = getattr(importlib.import_module(module), cls or "Settings")
        parts += [f"## [{name}]\n", "| key | variable | type | default | what it does |\n|---|---|---|---|---|"]
        for setting in config.settings_of(section, name=name):
            default = "required" if setting.required else f"`{json.dumps(setting.default, default=str)}`"
            kind = setting.type.replace("typing.", "").replace("|", "or")
            parts.append(f"| `{setting.key}` | `{setting.variable}` | {kind} | {default} | {setting.description} |")
        parts.append("")
    return HEAD + "\n".join(parts)


def metrics_page() -> str:
    rows = [
        f"| `{item.name}` | {item.kind} | {', '.join(item.labels)} | {item.help} |"
        for item in sorted(metrics.ALL, key=lambda metric: metric.name)
    ]
    table = "| name | kind | labels | what it counts |\n|---|---|---|---|\n" + "\n".join(rows)
    why = "| reason | what it means |\n|---|---|\n" + "\n".join(
        f"| `{reason}` | {readiness.MEANS[reason]} |" for reason in readiness.Reason
    )
    return (
        f"{HEAD}# Metrics\n\nFor Prometheus, at `/metrics` of each service.\n\n{table}\n\n"
        "## Readiness of ingest\n\nBeside `/metrics`, `/ready` answers 200, or 503 with the reasons, since when, and "
        "the words of the broker or the database; `/live` answers 200 while the process lives. The list is closed, and "
        f"each change is one line of the log.\n\n{why}\n"
    )


def quarantine_page() -> str:
    rows = [
        f"| `{item.value}` | {reasons.LABELS[item]['en']} | {reasons.LABELS[item]['ko']} |" for item in reasons.Reason
    ]
    table = "| reason | English | Korean |\n|---|---|---|\n" + "\n".join(rows)
    return (
        f"{HEAD}# Reasons of quarantine\n\nWhat cannot be stored is kept with its reason and never stops the batch "
        f"around it. The list is closed.\n\n{table}\n"
    )


def topics_page() -> str:
    rows = [
        f"| `{channel.value}` | {sender} | {receiver} | {what} |"
        for channel, (sender, receiver, what) in CHANNELS.items()
    ]
    return (
        f"{HEAD}# Topics\n\n`{topics.PREFIX}/<shard>/<municipality>/<agent>/<channel>`; shard is CRC-32 of "
        f"`<municipality>/<agent>` modulo {topics.SHARDS}, two digits. Names: municipality `{topics.MUNICIPALITY}`, "
        f"agent `{topics.AGENT}`, device `{topics.DEVICE}`.\n\n| channel | from | to | carries |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nA batch is a header of {wire.HEADER_BYTES} bytes, big-endian, and a body of at most "
        f"{wire.MAX_BODY_BYTES} bytes and {wire.MAX_OBSERVATIONS} observations: JSON, a group a kind, a list a "
        "property, or the same compressed with zstd. For machines: [asyncapi.json](asyncapi.json).\n\n"
        "| field | bytes | meaning |\n|---|---|---|\n"
        "| magic | 2 | `DU` |\n| version | 1 | 1 |\n| flags | 1 | 0 |\n"
        "| epoch | 8 | random number of an independent stream of batches, 63 bits |\n"
        "| seq | 4 | number of the batch in its epoch, from 1; 0: a heartbeat |\n"
        "| floor | 4 | lowest seq of the epoch that the outbox still holds |\n"
        "| nonce | 4 | of the agent's connection; the cursor echoes it |\n"
        "| first | 8 | number of the batch's first observation in its epoch, from 1 |\n"
        "| count | 2 | observations in the batch |\n"
        "| clock | 8 | the agent's clock up to which it has told everything, ms since 1970 UTC; 0: unknown |\n"
        "| taken | 8 | system clock when the batch's oldest observation was handed over, ms since 1970 UTC |\n"
        "| backlog | 4 | observations waiting in the outbox |\n"
        "| checksum | 4 | CRC-32 of the body |\n"
    )


def asyncapi(kinds: dict[str, Profile]) -> dict[str, Any]:
    """The MQTT interface as an AsyncAPI 3.0 document."""
    number = {"type": "integer"}
    groups = {
        kind: {
            "type": "object",
            "required": ["device", "observed_at"],
            "additionalProperties": False,
            "properties": {
                "device": {"type": "array", "items": {"type": "string", "pattern": f"^{topics.DEVICE}$"}},
                "observed_at": {"type": "array", "items": {**number, "description": "ms since 1970 UTC"}},
                **{name: {"type": "array", "items": _item_schema(item)} for name, item in profile.properties.items()},
            },
        }
        for kind, profile in kinds.items()
    }
    parameters = {
        "shard": {"description": f"CRC-32 of municipality/agent modulo {topics.SHARDS}, two digits"},
        "municipality": {"description": f"administrative code, {topics.MUNICIPALITY}"},
        "agent": {"description": f"name of the agent, {topics.AGENT}"},
    }
    channels = {
        channel.value: {
            "address": f"{topics.PREFIX}/{{shard}}/{{municipality}}/{{agent}}/{channel.value}",
            "description": what,
            "parameters": parameters,
            "messages": {channel.value: {"$ref": f"#/components/messages/{channel.value}"}},
        }
        for channel, (_, _, what) in CHANNELS.items()
    }
    operations = {}
    for channel, (sender, receiver, what) in CHANNELS.items():
        for action, who in (("send", sender), ("receive", receiver)):
            operations[f"{who}_{action}s_{channel.value}"] = {
                "action": action,
                "summary": what,
                "channel": {"$ref": f"#/channels/{channel.value}"},
            }
    cursor = {
        "type": "object",
        "required": ["epoch", "seq", "nonce"],
        "properties": {
            **dict.fromkeys(("epoch", "seq", "nonce"), number),
            "gap": {"type": "boolean", "default": False, "description": "batches beyond seq were ignored: send again"},
        },
    }
    messages = {
        "batch": {
            "contentType": "application/octet-stream",
            "summary": f"A header of {wire.HEADER_BYTES} bytes (see topics.md), then this body, JSON or JSON in zstd.",
            "payload": {"type": "object", "additionalProperties": False, "properties": groups},
        },
        "cursor": {"contentType": "application/json", "payload": cursor},
        "command": {"contentType": "application/json", "payload": {"type": "object"}},
        "live": {
            "contentType": "application/json",
            "payload": {
                "type": "object",
                "required": ["observations", "alarms"],
                "properties": {
                    "observations": {
                        "type": "object",
                        "description": "by kind: device_id, observed_at and each property, as lists",
                    },
                    "alarms": {"type": "array", "items": {"type": "object"}},
                },
            },
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dure: agents and platform over MQTT",
            "version": "1",
            "description": "MQTT 3.1.1 or 5, QoS 0 or 1.",
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _item_schema(item: Property) -> dict[str, Any]:
    if item.type == "enum":
        return {"enum": [*item.values, None]}
    schema: dict[str, Any] = {
        "type": [item.type, "null"],
        "description": f"{item.label['en']}, {item.unit}" if item.unit else item.label["en"],
    }
    if item.plausible:
        schema |= {"minimum": item.plausible[0], "maximum": item.plausible[1]}
    return schema


def openapi() -> dict[str, Any]:
    """The API's own document, from `dure api openapi`."""
    command = [sys.executable, str(ROOT / "dure.py"), "api", "openapi"]
    document: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return document


def api_page(document: dict[str, Any]) -> str:
    parts = [
        "# API\n",
        "JSON over HTTP. The whole description is [openapi.json](openapi.json); a running platform shows it at "
        "`/openapi.json`. Errors have the shape of RFC 9457. Times are milliseconds since 1970, UTC.\n",
        "| route | what it does |\n|---|---|",
    ]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            parts.append(f"| `{method.upper()} {path}` | {operation.get('summary', '')} |")
    return HEAD + "\n".join(parts) + "\n"
