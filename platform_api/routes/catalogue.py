"""What does not change while one looks: kinds with their properties, labels, and the municipalities."""

from typing import Any

from fastapi import APIRouter

from contracts import profiles as contract
from contracts import reasons
from platform_api.caller import Caller
from platform_api.models.catalogue import Catalogue, Municipalities
from platform_api.queries.municipalities import municipalities
from platform_api.routes.parameters import READ, Profiles, Stored

router = APIRouter(tags=["catalogue"])


@router.get("/profiles", responses=READ, summary="Kinds of devices, and labels")
async def get_profiles(_account: Caller, profiles: Profiles) -> Catalogue:
    """Everything a page needs to show any kind: labels in Korean and English, units, decimals, values, charts."""
    return Catalogue.model_validate(
        {
            "profiles": {kind: _shown(profile) for kind, profile in profiles.items()},
            "conditions": contract.CONDITIONS,
            "reasons": {reason.value: label for reason, label in reasons.LABELS.items()},
        }
    )


@router.get("/municipalities", responses=READ, summary="Municipalities of the account")
async def get_municipalities(account: Caller, database: Stored) -> Municipalities:
    return Municipalities(items=await municipalities(database, account.permitted))


def _shown(profile: contract.Profile) -> dict[str, Any]:
    return {
        "kind": profile.kind,
        "label": profile.label,
        "symbol": profile.symbol,
        "display": {
            "headline": profile.display.headline,
            "state": profile.display.state,
            "level": profile.display.level,
        },
        "report_period_s": profile.report_period_s,
        "properties": {
            name: {
                "type": item.type,
                "unit": item.unit,
                "label": item.label,
                "decimals": item.decimals,
                "values": list(item.values),
                "value_labels": item.value_labels,
                "chart": item.chart,
                "range": item.plausible,
            }
            for name, item in profile.properties.items()
        },
    }
