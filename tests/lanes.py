"""Lanes: by default SQLite and a private embedded server; PostgreSQL and Redis by environment.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` choose the second lane. Settings are read once, and
pytest-django reads them before any conftest.py is loaded. So the environment is arranged in this
module, which `addopts` loads as a plugin (`-p tests.lanes`) earlier still.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import redis

_VAR = Path(tempfile.mkdtemp(prefix="incidentops-tests-"))
atexit.register(shutil.rmtree, _VAR, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("IOP_")]:
    del os.environ[_name]
os.environ |= {
    "IOP_VAR": str(_VAR),
    "IOP_SECRET_KEY": "only-for-tests-" + "x" * 40,
    "IOP_REDIS_PREFIX": f"test-{uuid.uuid4().hex[:8]}",
    "IOP_LOG_LEVEL": "WARNING",
    # Neither credentials nor endpoints of whoever runs the tests.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.pop("AWS_BEARER_TOKEN_BEDROCK", None)
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "")
# Where collected static files would be; WhiteNoise warns when there is no such directory.
(_VAR / "static").mkdir()


def _private_server() -> str:
    from incidentops import embedded

    password, port = embedded.new_password(), embedded.free_port()
    command = embedded.server_command(_VAR / "redis", port=port, password=password, durable=False)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    atexit.register(server.terminate)
    url = embedded.server_url(port=port, password=password)
    client = redis.Redis.from_url(
        url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 100)
    )
    client.ping()
    client.close()
    return url


os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL") or _private_server()


def pytest_report_header() -> list[str]:
    database = "PostgreSQL" if os.environ["DATABASE_URL"] else "SQLite"
    server = "given Redis" if os.environ.get("TEST_REDIS_URL") else "embedded server"
    return [f"lane: {database} + {server}"]
