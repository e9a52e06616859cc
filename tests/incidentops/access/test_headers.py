from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import call_command

from tests.factories import make_user


@pytest.mark.django_db
def test_every_answer_carries_the_protecting_headers(client):
    for path in ("/login/", "/nothing/", "/api/v1/tokens/"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_deployment_on_loopback_raises_no_warning():
    call_command("check", deploy=True, fail_level="WARNING")


def test_a_deployment_under_https_raises_no_warning(tmp_path):
    environ = {**os.environ, "IOP_PUBLIC_URL": "https://ops.example.com", "IOP_VAR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=settings.BASE_DIR,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db
def test_the_api_docs_load_nothing_from_elsewhere_and_run_nothing_inline(client):
    client.force_login(make_user("viewer"))
    page = client.get("/api/docs/")
    text = page.content.decode()
    assert page.status_code == 200
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "//" not in text.replace("<!DOCTYPE html>", "")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)
    (script,) = re.findall(r'src="(/api/docs/[^"]+)"', text)
    own = client.get(script.replace("&amp;", "&"))
    assert own.headers["Content-Type"].startswith("application/javascript")
    assert "/api/schema/" in own.content.decode()
    schema = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi"})
    assert schema.status_code == 200
    assert b"/api/v1/tokens/" in schema.content
