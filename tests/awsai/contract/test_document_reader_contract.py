from __future__ import annotations

import pytest

from tests.awsai.contract.promises import assert_labelled, assert_refused
from tests.awsai.local.documents import make_pdf

PDF = make_pdf(("Restart the payments pool", "before noon"))


@pytest.mark.parametrize("operation", ["read", "analyze"])
def test_a_page_is_read_line_by_line(provider, operation):
    document = getattr(provider.document_reader(), operation)(PDF, media_type="application/pdf")
    assert_labelled(document.served, provider)
    assert document.pages == 1
    assert document.text.split("\n") == ["Restart the payments pool", "before noon"]
    assert {line.page for line in document.lines} == {1}
    assert all(0 <= line.confidence <= 1 for line in document.lines)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n broken", "image/png"),
        (b"no document at all", "application/pdf"),
        (b"", "application/pdf"),
        (b"x", "application/x-tar"),
    ],
)
def test_what_cannot_be_read_is_refused_and_never_guessed(provider, content, media_type):
    reader = provider.document_reader()
    assert_refused(lambda: reader.read(content, media_type=media_type))
    assert_refused(lambda: reader.analyze(content, media_type=media_type))


def test_an_unknown_job_is_refused(provider):
    assert_refused(lambda: provider.document_reader().collect("f" * 32))
