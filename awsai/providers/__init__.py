"""Who serves the ports: AWS, the emulator over the same wire, or this installation itself."""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from awsai.ports import Provider, ProviderName

# By dotted path: boto3 is heavy, and a process that never calls AWS never loads it.
_PROVIDERS = {
    "aws": "awsai.providers.aws.AWS",
    "emulator": "awsai.providers.aws.EMULATOR",
    "local": "awsai.providers.local.PROVIDER",
}


def provider(name: ProviderName | None = None) -> Provider:
    """The provider of that name, or the one this installation is set to (`IOP_AWSAI`)."""
    return cast("Provider", import_string(_PROVIDERS[name or settings.AWSAI_PROVIDER]))
