"""How a bill spells a meter in a region; typed from the AWS billing-code tables."""

from __future__ import annotations

CODES = {
    "us-east-1": "USE1",
    "us-east-2": "USE2",
    "us-west-2": "USW2",
    "eu-west-1": "EU",
    "eu-central-1": "EUC1",
    "ap-south-1": "APS3",
    "ap-southeast-1": "APS1",
    "sa-east-1": "SAE1",
}
# In us-east-1 these are written bare, all others with USE1 in front.
BARE_IN_VIRGINIA = {
    "DataTransfer-Regional-Bytes",
    "DataTransfer-Out-Bytes",
    "DataTransfer-In-Bytes",
    "NatGateway-Bytes",
    "DataProcessing-Bytes",
}


def spell(meter: str, region: str, other: str = "") -> str:
    """Return the usage type of `meter`; `other` is the second region of a pair."""
    code = CODES[region]
    if other:
        return f"{code}-{CODES[other]}-{meter}"
    if region == "us-east-1" and meter in BARE_IN_VIRGINIA:
        return meter
    return f"{code}-{meter}"
