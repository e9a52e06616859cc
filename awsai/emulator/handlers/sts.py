"""AWS STS: assumed roles and who one is. Only what credentials of the product's planes need."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus

from awsai.emulator.account import ACCOUNT_ID, Account, Call, Handler, Output
from awsai.emulator.errors import AwsError

LIFETIME_SECONDS = 3600
_ROLE = re.compile(rf"arn:aws:iam::{ACCOUNT_ID}:role/(?:[\w+=,.@/-]*/)?(?P<name>[\w+=,.@-]+)")


def handlers(account: Account) -> Mapping[str, Handler]:
    sts = Sts(account)
    return {"AssumeRole": sts.assume_role, "GetCallerIdentity": sts.get_caller_identity}


class Sts:
    def __init__(self, account: Account) -> None:
        self._account = account

    def assume_role(self, call: Call) -> Output:
        """Any role of the account can be assumed; what it would allow is not looked at."""
        role, session = call.params["RoleArn"], call.params["RoleSessionName"]
        known = _ROLE.fullmatch(role)
        if known is None:
            raise AwsError(
                "AccessDenied",
                f"User: {call.caller.principal_arn} is not authorized to perform: sts:AssumeRole "
                f"on resource: {role}",
                status=HTTPStatus.FORBIDDEN,
            )
        arn = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{known['name']}/{session}"
        id = f"AROA{secrets.token_hex(8).upper()}:{session}"
        lifetime = timedelta(seconds=call.params.get("DurationSeconds", LIFETIME_SECONDS))
        lent = self._account.keyring.lend(
            principal_arn=arn, principal_id=id, until=self._account.clock() + lifetime
        )
        return {
            "Credentials": {
                "AccessKeyId": lent.access_key_id,
                "SecretAccessKey": lent.secret_access_key,
                "SessionToken": lent.session_token,
                "Expiration": lent.expires_at,
            },
            "AssumedRoleUser": {"AssumedRoleId": id, "Arn": arn},
        }

    def get_caller_identity(self, call: Call) -> Output:
        caller = call.caller
        return {"UserId": caller.principal_id, "Account": ACCOUNT_ID, "Arn": caller.principal_arn}
