from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsai.ports import CallFailed, Trouble
from awsai.providers.local.reader import DOCX, MOST_BYTES, MOST_PAGES, FormatReader
from tests.awsai.local.documents import make_docx, make_pdf

READER = FormatReader()
MEDIA_TYPES = [
    "text/plain",
    "text/markdown",
    "text/html",
    "application/json",
    "text/csv",
    "application/pdf",
    DOCX,
]


def lines(content: bytes, media_type: str) -> list[str]:
    return [line.text for line in READER.read(content, media_type=media_type).lines]


def refusal(content: bytes, media_type: str) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        READER.analyze(content, media_type=media_type)
    assert failed.value.trouble is Trouble.REFUSED
    return failed.value


def test_plain_text_is_read_in_the_character_set_it_names():
    assert lines("one\n\n  zwei ü\n".encode(), "text/plain") == ["one", "  zwei ü"]
    assert lines("ü".encode("latin-1"), 'text/plain; charset="ISO-8859-1"') == ["ü"]
    assert lines("\ufeffbom".encode(), "text/plain") == ["bom"]
    assert "utf-8" in str(refusal(b"\xff\xfe\xfa", "text/plain"))
    refusal(b"a", "text/plain; charset=idna")


def test_the_pages_of_a_pdf_are_kept_apart():
    content = make_pdf(("Latency rose to 842 ms", "at 12:03"), ("Second page",))
    document = READER.read(content, media_type="application/pdf")
    assert [(line.page, line.text) for line in document.lines] == [
        (1, "Latency rose to 842 ms"),
        (1, "at 12:03"),
        (2, "Second page"),
    ]
    assert document.pages == 2


def test_a_docx_is_read_in_its_order_with_its_tables():
    content = make_docx("Before", "", table=(("service", "p99"), ("api", "842")))
    document = READER.analyze(content, media_type=DOCX)
    assert document.text == "Before\nservice | p99\napi | 842"
    assert document.tables[0].rows == (("service", "p99"), ("api", "842"))
    assert READER.read(content, media_type=DOCX).tables == ()


def test_html_is_read_as_it_is_seen():
    page = b"""<html><head><title>Runbook</title><style>p {}</style></head><body>
    <script>alert("no")</script><!-- <p>hidden</p> --><p>Restart &amp; <b>wait</b> a &lt; b</p>
    <table><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td>2<br>3</td></tr></table></body>"""
    document = READER.analyze(page, media_type="text/html")
    assert document.text.split("\n") == ["Runbook", "Restart & wait a < b", "a | b", "1 | 2 3"]
    assert document.tables[0].rows == (("a", "b"), ("1", "2 3"))


# In quadratic time each of these would take minutes.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["<a", "<!--", "<![CDATA[", "</", "<a b='", "<?x", "<script>", "&#", "<a b='>", "<![x]>"],
)
def test_unfinished_markup_takes_linear_time(piece):
    (first, *_) = lines(f"text<br>{piece * 150_000}".encode(), "text/html")
    assert first == "text"


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="<>!?/[]-'\"= atdrbp&#;x1\n", max_size=60))
def test_any_markup_is_read(text):
    assert READER.analyze(f".{text}".encode(), media_type="text/html").pages == 1


def test_csv_and_markdown_tables_are_read():
    csv = READER.analyze(b'a,b\n1,"x,\ny"\n', media_type="text/csv")
    assert csv.tables[0].rows == (("a", "b"), ("1", "x,\ny"))
    markdown = READER.analyze(
        b"# Head\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\ntext", media_type="text/markdown"
    )
    assert markdown.tables[0].rows == (("a", "b"), ("1", "2"))
    assert markdown.lines[0].text == "# Head"


def test_json_is_checked_and_left_as_it_is():
    assert lines(b'{\n "a": 1e400}\n', "application/json") == ["{", ' "a": 1e400}']
    refusal(b"{", "application/json")
    refusal(b"[" * 100_000, "application/json")


def test_what_cannot_be_read_is_refused_with_a_sentence():
    assert "pictures" in str(refusal(b"\x89PNG\r\n\x1a\n", "image/png"))
    assert "pictures" in str(refusal(make_pdf(()), "application/pdf"))
    assert "application/x-tar" in str(refusal(b"x", "application/x-tar"))
    assert "empty" in str(refusal(b"", "text/plain"))
    assert "PdfStreamError" in str(refusal(b"no pdf", "application/pdf"))
    refusal(b'a,"b', "text/csv")
    for call in (lambda: READER.start("b", "k", token="t"), lambda: READER.collect("j")):
        with pytest.raises(CallFailed, match="S3"):
            call()


def test_documents_are_bounded():
    assert "bytes" in str(refusal(b"x" * (MOST_BYTES + 1), "text/plain"))
    assert "pages" in str(refusal(make_pdf(*[("x",)] * (MOST_PAGES + 1)), "application/pdf"))
    bomb = BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 60_000_000)
    assert len(bomb.getvalue()) < 100_000
    assert "unpacks" in str(refusal(bomb.getvalue(), DOCX))


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(MEDIA_TYPES))
def test_any_bytes_are_read_or_refused(content, media_type):
    for prefix in (b"", b"%PDF-1.4\n", b"PK\x03\x04"):
        document = read_or_refusal(prefix + content, media_type)
        if isinstance(document, CallFailed):
            assert document.trouble is Trouble.REFUSED
        else:
            assert document.pages >= 1


def read_or_refusal(content, media_type):
    try:
        return READER.analyze(content, media_type=media_type)
    except CallFailed as failed:
        return failed
