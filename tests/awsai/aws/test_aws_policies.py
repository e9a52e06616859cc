"""The IAM policies of docs/deploy/aws against what the product really calls."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
POLICIES = ROOT / "docs" / "deploy" / "aws"
ADAPTERS = ROOT / "awsai" / "providers" / "aws"
PREFIXES = {
    "bedrock-runtime": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock": "bedrock",
    "qbusiness": "qbusiness",
    "comprehend": "comprehend",
    "textract": "textract",
}
# Converse is authorised as the operation it stands for.
# https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html
AUTHORISED_AS = {"Converse": "InvokeModel", "ConverseStream": "InvokeModelWithResponseStream"}


def statements(plane: str, effect: str = "Allow") -> list[dict]:
    document = json.loads((POLICIES / f"{plane}.json").read_text())
    return [one for one in document["Statement"] if one["Effect"] == effect]


def listed(value) -> list[str]:
    return [value] if isinstance(value, str) else value


def actions(plane: str) -> set[str]:
    return {action for one in statements(plane) for action in listed(one["Action"])}


def called(module: str) -> set[str]:
    """The actions of the operations that an adapter calls by name, in its source."""
    source = (ADAPTERS / f"{module}.py").read_text()
    (service,) = set(re.findall(r'service="([a-z-]+)"', source)) & PREFIXES.keys()
    methods = re.findall(r'call\(\s*f?"([a-z_{}]+)"', source)
    kinds = ("sentiment", "entities", "key_phrases")
    names = {method.replace("{what}", kind) for method in methods for kind in kinds}
    operations = {"".join(part.capitalize() for part in name.split("_")) for name in names}
    return {f"{PREFIXES[service]}:{AUTHORISED_AS.get(one, one)}" for one in operations}


@pytest.mark.parametrize(
    "module",
    ["reasoner", "guard", "retriever", "assistant", "q_business", "analyst", "reader", "catalogue"],
)
def test_what_the_adapters_call_is_allowed(module):
    assert called(module)
    assert called(module) <= actions("invoke")


def test_inference_without_the_guardrail_is_denied():
    (deny,) = statements("invoke", "Deny")
    (allow,) = [one for one in statements("invoke") if one["Sid"] == "AskModels"]
    assert set(deny["Action"]) == {
        "bedrock:InvokeModel",
        "bedrock:InvokeModelWithResponseStream",
    }
    assert deny["Resource"] == allow["Resource"]
    (condition,) = deny["Condition"]["StringNotEquals"].items()
    assert condition[0] == "bedrock:GuardrailIdentifier"
    assert all("guardrail/GUARDRAIL_ID" in arn for arn in condition[1])


def test_nothing_is_changed_that_is_not_tagged_or_named():
    reading = ("Describe", "Get", "List")
    for one in statements("act"):
        changing = [
            action
            for action in listed(one["Action"])
            if not action.partition(":")[2].startswith(reading)
        ]
        if not changing:
            continue
        tagged = one.get("Condition") == {
            "StringEquals": {"aws:ResourceTag/incidentops": "managed"}
        }
        named = all(re.search(r"_DOCUMENT(:\*)?$", arn) for arn in listed(one["Resource"]))
        assert tagged or named, one["Sid"]


def test_looking_changes_nothing():
    # StartQuery and StopQuery concern the query alone.
    allowed = "*:Get*", "*:List*", "*:Describe*", "*:Lookup*", "*:Filter*", "*:*Query"
    for action in actions("observe") | actions("price-sync"):
        assert any(fnmatch(action, pattern) for pattern in allowed), action


def test_no_policy_allows_all_actions():
    for path in POLICIES.glob("*.json"):
        assert '"*:*"' not in path.read_text()
        for one in json.loads(path.read_text())["Statement"]:
            assert not any("*" in action for action in listed(one["Action"]))
