"""A local endpoint that speaks the wire protocols of AWS's AI services.

Requests and answers follow botocore's service models; the answers themselves come from a provider
(`awsai.ports.Provider`). See `awsai.emulator.emulator.Emulator`.
"""

from __future__ import annotations
