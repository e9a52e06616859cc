"""The pages in a real browser, against a real instance that this module starts."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    WebSocketRoute,
    expect,
    sync_playwright,
)

from tests.live import ROOT, LiveInstance, instance, lane, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LIBRARIES = ROOT / "static" / "vendor" / "libraries.json"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "for-tests-only-42"
Scheme = Literal["light", "dark"]
SERIES_POINTS = 120

expect.set_options(timeout=15_000)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(
        not LIBRARIES.exists(), reason="the browser libraries are not installed (make setup)"
    ),
]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveInstance]:
    directory = tmp_path_factory.mktemp("browser")
    with lane() as environ, instance(directory, IOP_ADMIN_PASSWORD=PASSWORD, **environ) as started:
        yield started


@pytest.fixture(scope="module")
def api(live: LiveInstance) -> Iterator[httpx.Client]:
    with live.client("admin") as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def session(browser: Browser, live: LiveInstance, tmp_path_factory) -> Path:
    """The cookies of somebody who signed in through the form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{live.url}/ops")
    expect(page).to_have_url(re.compile(r"/login/\?next="))
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{live.url}/ops")
    path: Path = tmp_path_factory.mktemp("session") / "state.json"
    context.storage_state(path=path)
    context.close()
    return path


@pytest.fixture
def complaints() -> list[str]:
    """What the browser objected to: script errors, failed loads, policy violations."""
    return []


@pytest.fixture
def page(
    browser: Browser, live: LiveInstance, session: Path, complaints: list[str]
) -> Iterator[Page]:
    context = browser.new_context(storage_state=session, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    listen(opened, complaints)
    yield opened
    context.close()
    assert complaints == []


def listen(page: Page, complaints: list[str]) -> None:
    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))


def fire(live: LiveInstance, name: str, *, service: str, severity: str = "high") -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": name, "service": service, "severity": severity},
        "annotations": {"summary": f"{name} on {service}"},
        "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
    }
    body = {"version": "4", "groupKey": name, "status": "firing", "receiver": "test"}
    answer = httpx.post(
        live.intake_url("alertmanager"), json={**body, "alerts": [alert]}, trust_env=False
    )
    assert answer.status_code == 202, answer.text


def number_of(api: httpx.Client, service: str) -> int:
    def find() -> int:
        rows = api.get("/api/v1/incidents/", params={"service": service}).json()["results"]
        return rows[0]["number"] if rows else 0

    return wait_for(find, what=f"an incident of {service}")


@pytest.fixture(scope="module")
def responded(live: LiveInstance, api: httpx.Client) -> int:
    """The number of an incident with telemetry whose response has ended."""
    began = time.time() - SERIES_POINTS * 30
    points = [
        [began + i * 30, 0.2 + 0.01 * (i % 5) + (1.2 if i > SERIES_POINTS - 20 else 0)]
        for i in range(SERIES_POINTS)
    ]
    sample = {"service": "checkout", "metric": "latency_p95", "unit": "s", "points": points}
    pushed = api.post("/api/v1/telemetry/samples/", json={"samples": [sample]})
    assert pushed.status_code == 202, pushed.text
    fire(live, "HighLatency", service="checkout", severity="critical")
    number = number_of(api, "checkout")
    wait_for(
        lambda: api.get(f"/api/v1/incidents/{number}/response/").json()["finished_at"],
        what="the end of the response",
    )
    attach(api, number, "postgres.log", b"FATAL: remaining connection slots are reserved\n" * 9)
    attach(api, number, f"{'a_name_without_blanks_' * 5}.png", b"\x89PNG\r\n\x1a\n")
    ask(api, number, "What changed before it began?")
    ask(api, number, f"What of {'a_name_without_blanks_' * 5} and the zebras?")
    return number


def ask(api: httpx.Client, number: int, text: str) -> None:
    """Ask about an incident and wait for the answer."""
    asked = api.post(f"/api/v1/incidents/{number}/questions/", json={"text": text})
    assert asked.status_code == 202, asked.text
    url = asked.json()["url"]
    wait_for(lambda: api.get(url).json()["state"] == "answered", what=f"the answer to {text}")


def attach(api: httpx.Client, number: int, name: str, content: bytes) -> None:
    """Attach a file and wait until somebody has tried to read it."""
    url = f"/api/v1/incidents/{number}/attachments/"
    answer = api.post(url, files={"file": (name, content)}, data={"note": f"Note on {name}."})
    assert answer.status_code == 201, answer.text
    wait_for(
        lambda: all(row["state"] != "pending" for row in api.get(url).json()["results"]),
        what=f"the reading of {name}",
    )


def open_live(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator('.pill[data-state="live"]')).to_be_visible(timeout=15_000)


def test_a_new_incident_appears_on_the_open_board(live: LiveInstance, page: Page) -> None:
    open_live(page, f"{live.url}/ops")
    page.evaluate("window.notReloaded = true")
    fire(live, "QueueGrowing", service="orders")
    card = page.locator("section.column", has_text="Triggered").locator(".card", has_text="orders")
    expect(card).to_contain_text("QueueGrowing", timeout=15_000)
    expect(card).to_contain_text("response escalated", timeout=30_000)
    expect(page.locator("ops-events")).to_contain_text("QueueGrowing")
    assert page.evaluate("window.notReloaded")


def test_a_responder_acknowledges_on_the_incident_page(
    live: LiveInstance, page: Page, api: httpx.Client, responded: int
) -> None:
    open_live(page, f"{live.url}/incidents/{responded}/")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("main [role=status]").first).to_contain_text("Acknowledged.")
    expect(page.locator("incident-head")).to_contain_text("owner: admin")
    expect(page.get_by_role("button", name="Acknowledge")).to_be_hidden()
    assert api.get(f"/api/v1/incidents/{responded}/").json()["status"] == "acknowledged"


def test_what_somebody_else_does_shows_without_reload(
    live: LiveInstance, page: Page, api: httpx.Client, responded: int
) -> None:
    open_live(page, f"{live.url}/incidents/{responded}/")
    answer = api.post(
        f"/api/v1/incidents/{responded}/comment/", json={"text": "Rolled the canary back."}
    )
    assert answer.is_success, answer.text
    expect(page.locator("incident-timeline")).to_contain_text("Rolled the canary back.")


def test_a_file_is_attached_saved_and_deleted_by_keyboard(
    live: LiveInstance, page: Page, api: httpx.Client, tmp_path: Path
) -> None:
    made = api.post("/api/v1/incidents/", json={"title": "Orders are slow", "severity": "low"})
    open_live(page, f"{live.url}/incidents/{made.json()['number']}/")
    log = tmp_path / "app.log"
    log.write_bytes(b"pool exhausted\n")
    chosen = page.get_by_label("Document, log or screenshot")
    chosen.set_input_files(log)
    chosen.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Why it matters")).to_be_focused()
    page.keyboard.type("From orders-1.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main [role=status]").first).to_contain_text("Attached.")
    file = page.locator("incident-attachments article")
    expect(file).to_contain_text("From orders-1.")
    expect(file.locator(".tag.read")).to_be_visible()
    expect(page.locator('.pill[data-state="live"]')).to_be_visible()
    file.get_by_text("What was read").click()
    expect(file.locator("pre")).to_have_text("pool exhausted")
    with page.expect_download() as download:
        file.get_by_role("link", name="app.log").click()
    assert download.value.suggested_filename == "app.log"
    assert download.value.path().read_bytes() == log.read_bytes()
    file.locator("summary", has_text="Delete").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main [role=status]").first).to_contain_text("was deleted.")
    expect(page.locator("incident-attachments")).to_contain_text("Nothing is attached.")


def test_what_somebody_else_attaches_shows_without_reload(
    live: LiveInstance, page: Page, api: httpx.Client
) -> None:
    made = api.post("/api/v1/incidents/", json={"title": "Orders are slow", "severity": "low"})
    number = made.json()["number"]
    open_live(page, f"{live.url}/incidents/{number}/")
    page.get_by_label("Why it matters").fill("half written")
    attach(api, number, "app.log", b"pool exhausted")
    attach(api, number, "shot.png", b"\x89PNG\r\n\x1a\n")
    panel = page.locator("incident-attachments")
    expect(panel.locator("article", has_text="app.log").locator(".tag.read")).to_be_visible()
    expect(panel.locator("article", has_text="shot.png")).to_contain_text(
        "Not read: Text in pictures is not recognised here."
    )
    expect(page.get_by_label("Why it matters")).to_have_value("half written")


def test_a_question_is_asked_by_keyboard_and_its_answer_shows_without_reload(
    live: LiveInstance, page: Page, api: httpx.Client
) -> None:
    made = api.post("/api/v1/incidents/", json={"title": "Orders are slow", "severity": "low"})
    number = made.json()["number"]
    open_live(page, f"{live.url}/incidents/{number}/")
    page.get_by_label("Your question").focus()
    page.keyboard.type("Who is the owner?")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main [role=status]").first).to_contain_text("Asked.")
    question = page.locator("incident-questions article", has_text="Who is the owner?")
    expect(question).to_contain_text(f"Incident #{number} has no owner. [incident]")
    expect(question).to_contain_text("Local provider")
    expect(page.locator('.pill[data-state="live"]')).to_be_visible()
    page.evaluate("window.notReloaded = true")
    page.get_by_label("Your question").fill("half written")
    ask(api, number, "When was it detected?")
    other = page.locator("incident-questions article", has_text="When was it detected?")
    expect(other).to_contain_text(f"Incident #{number} was detected at")
    expect(page.get_by_label("Your question")).to_have_value("half written")
    # One or two, as they came together or not.
    expect(page.locator("#announcer")).to_contain_text(re.compile("questions? answered"))
    assert page.evaluate("window.notReloaded")


def test_evidence_is_plotted_and_readable_as_a_table(
    live: LiveInstance, page: Page, responded: int
) -> None:
    open_live(page, f"{live.url}/incidents/{responded}/")
    expect(page.locator("evidence-plot canvas").first).to_be_visible()
    series = page.locator("article.evidence", has=page.locator("evidence-plot")).first
    series.get_by_text("Figures as a table").click()
    expect(series.get_by_role("region", name="Figures")).to_be_visible()
    citation = page.locator("response-findings a.cite").first
    target = citation.get_attribute("href") or ""
    citation.click()
    expect(page.locator(f"[id='{target.removeprefix('#')}']")).to_be_in_viewport()


def test_the_page_holds_what_the_server_says(
    live: LiveInstance, page: Page, api: httpx.Client, responded: int
) -> None:
    open_live(page, f"{live.url}/incidents/{responded}/")
    script = """async () => {
        const link = document.querySelector('script[src*="pages/incident"]').src;
        const text = await (await fetch(link)).text();
        const path = text.match(/from "(\\.\\.\\/store[^"]*)"/)[1];
        const { storeOf } = await import(new URL(path, link));
        return storeOf(document.body.dataset.topic).state.response;
    }"""
    held = page.evaluate(script)
    assert held == api.get(f"/api/v1/incidents/{responded}/response/").json()


def test_words_stand_in_the_place_of_a_finding_while_they_are_written(
    live: LiveInstance, page: Page, responded: int
) -> None:
    open_live(page, f"{live.url}/incidents/{responded}/")
    page.evaluate(
        """async () => {
            const link = document.querySelector('script[src*="pages/incident"]').src;
            const text = await (await fetch(link)).text();
            const path = text.match(/from "(\\.\\.\\/store[^"]*)"/)[1];
            const { storeOf } = await import(new URL(path, link));
            const store = storeOf(document.body.dataset.topic);
            const { cycle } = store.state.response;
            const data = {run: 1e9, agent: "diagnosis", phase: "diagnosis", cycle, text: "The <b>deploy"};
            const event = {position: store.position + 1, type: "agent.words", version: 1, data};
            store.apply({epoch: store.epoch, events: [event]});
        }"""
    )
    written = page.locator("response-findings article", has_text="writing")
    expect(written).to_contain_text("The <b>deploy")
    expect(written.locator("[aria-live=off]")).to_have_text("The <b>deploy")


def test_words_calls_and_routes_appear_without_reload(
    live: LiveInstance, page: Page, api: httpx.Client
) -> None:
    fire(live, "InvoicesLate", service="billing")
    number = number_of(api, "billing")
    response = f"/api/v1/incidents/{number}/response/"
    wait_for(lambda: api.get(response).json()["finished_at"], what="the end of the response")
    open_live(page, f"{live.url}/transparency?incident={number}")
    calls, routes = page.locator("incident-calls tr[id]"), page.locator("incident-routes tbody[id]")
    expect(calls.first).to_contain_text("Local provider")
    held = calls.count(), routes.count()
    page.evaluate("window.notReloaded = true")
    for verb in ("resolve", "reopen"):
        assert api.post(f"/api/v1/incidents/{number}/{verb}/", json={}).is_success
    expect(calls).to_have_count(2 * held[0], timeout=30_000)
    expect(routes).to_have_count(2 * held[1])
    routes.first.get_by_text("candidate").click()
    expect(routes.first).to_contain_text("local provider")
    words = page.locator("response-findings .words").first
    expect(words).to_contain_text("Hypotheses in words")
    words.get_by_text("How this came about").click()
    words.get_by_role("link", name=re.compile("Call")).click()
    expect(page.locator("tr:target")).to_be_in_viewport()
    assert page.evaluate("window.notReloaded")


def test_the_board_can_be_used_by_keyboard(
    live: LiveInstance, page: Page, api: httpx.Client, responded: int
) -> None:
    fire(live, "DiskFillingUp", service="backup", severity="low")
    number = number_of(api, "backup")
    open_live(page, f"{live.url}/ops")
    expect(page.locator(".card", has_text="backup")).to_be_visible(timeout=15_000)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    wanted = page.locator(f'ops-board a.title[href="/incidents/{number}/"]')
    for _ in range(12):
        page.keyboard.press("j")
        if wanted.evaluate("link => link === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    page.keyboard.press("a")
    acknowledged = page.locator("section.column", has_text="Acknowledged")
    link = f'a.title[href="/incidents/{number}/"]'
    expect(acknowledged.locator(link)).to_be_focused()
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help_).to_be_visible()
    help_.get_by_label("Single-key shortcuts are on").uncheck()
    page.keyboard.press("Escape")
    page.locator("body").click(position={"x": 2, "y": 300})
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.matches('a.title')") is False
    page.keyboard.press("?")
    help_.get_by_label("Single-key shortcuts are on").check()
    page.keyboard.press("Escape")
    wanted.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live.url}/incidents/{number}/")


def test_cards_do_not_move_under_the_focus(
    live: LiveInstance, page: Page, api: httpx.Client, responded: int
) -> None:
    open_live(page, f"{live.url}/ops")
    focused = page.locator(f'ops-board a.title[href="/incidents/{responded}/"]')
    focused.focus()
    fire(live, "ReplicaLag", service="reports-db", severity="critical")
    waiting = page.get_by_role("button", name=re.compile("1 update"))
    expect(waiting).to_be_visible(timeout=15_000)
    expect(page.locator(".card", has_text="reports-db")).to_have_count(0)
    expect(focused).to_be_focused()
    page.keyboard.press(".")
    expect(page.locator(".card", has_text="reports-db")).to_be_visible()
    expect(waiting).to_be_hidden()


def test_a_lost_connection_comes_back_and_misses_nothing(live: LiveInstance, page: Page) -> None:
    connections: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        if len(connections) == 1:
            fire(live, "CacheMisses", service="session-cache", severity="medium")
        connections.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("/dashboard/ws"), pass_on)
    open_live(page, f"{live.url}/ops")
    connections[0].close(code=1012, reason="restart")
    expect(page.locator(".card", has_text="session-cache")).to_be_visible(timeout=30_000)
    expect(page.locator('.pill[data-state="live"]')).to_be_visible()
    assert len(connections) == 2


def test_the_pages_work_without_scripts(
    browser: Browser, live: LiveInstance, session: Path, responded: int
) -> None:
    context = browser.new_context(storage_state=session, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{live.url}/incidents/{responded}/")
    page.get_by_text("Comment, severity, snooze").click()
    page.locator("#comment-text").fill("Written without scripts.")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".timeline")).to_contain_text("Written without scripts.")
    page.get_by_label("Document, log or screenshot").set_input_files(
        {"name": "bare.txt", "mimeType": "text/plain", "buffer": b"Attached without scripts."}
    )
    page.get_by_role("button", name="Attach", exact=True).click()
    expect(page.locator("#attachments article", has_text="bare.txt")).to_be_visible()
    page.get_by_label("Your question").fill("What was written without scripts?")
    page.get_by_role("button", name="Ask", exact=True).click()
    asked = page.locator("#questions article", has_text="What was written without scripts?")
    expect(asked).to_be_visible()
    page.get_by_text("Comment, severity, snooze").click()
    page.get_by_label("Merge into incident number").fill(str(responded))
    page.get_by_role("button", name="Merge", exact=True).click()
    expect(page.locator("#merge-errors")).to_contain_text("cannot be merged into itself")
    expect(page.get_by_label("Merge into incident number")).to_be_focused()
    page.goto(f"{live.url}/ops?severity=critical")
    expect(page.locator(".card", has_text="checkout")).to_be_visible()
    page.goto(f"{live.url}/demo")
    expect(page.get_by_role("heading", name="Mean time to resolve")).to_be_visible()
    context.close()


@pytest.mark.parametrize(
    ("path", "panels"),
    [
        (
            "/transparency?incident=",
            ("incident-calls", "incident-routes", "response-findings", "response-evidence"),
        ),
        (
            "/incidents/",
            (
                "incident-attachments",
                "incident-questions",
                "incident-timeline",
                "response-evidence",
            ),
        ),
    ],
)
def test_scripts_say_what_the_server_said(
    browser: Browser,
    live: LiveInstance,
    session: Path,
    page: Page,
    responded: int,
    path: str,
    panels: tuple[str, ...],
) -> None:
    context = browser.new_context(storage_state=session, java_script_enabled=False)
    bare = context.new_page()
    url = f"{live.url}{path}{responded}"
    open_live(page, url)
    bare.goto(url)
    if page.locator("evidence-plot").count():
        expect(page.locator("evidence-plot canvas").first).to_be_visible()
    for panel in panels:
        live_text, bare_text = (
            re.sub(r"\s+", "", one.locator(panel).text_content() or "") for one in (page, bare)
        )
        assert live_text == bare_text, panel
        assert live_text
    context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_pages_are_accessible_and_fit(
    browser: Browser, live: LiveInstance, session: Path, responded: int, scheme: Scheme, width: int
) -> None:
    complaints: list[str] = []
    context = browser.new_context(
        storage_state=session, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = context.new_page()
    listen(page, complaints)
    found: dict[str, object] = {}
    for path in (
        "/ops",
        f"/incidents/{responded}/",
        f"/transparency?incident={responded}",
        "/demo",
        "/approvals/",
    ):
        page.goto(f"{live.url}{path}")
        if path != "/approvals/":
            expect(page.locator('.pill[data-state="live"]')).to_be_visible(timeout=15_000)
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        if overflow > 0:
            found[f"{path} overflows"] = overflow
        if violations := axe(page):
            found[path] = violations
    context.close()
    assert found == {}, json.dumps(found, indent=2)
    assert complaints == []


def axe(page: Page) -> list[dict[str, object]]:
    """Serious and critical violations of WCAG 2.2 AA on the page as it stands."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci)")
    # Through the protocol, as the page's policy forbids scripts of others.
    page.evaluate(AXE.read_text() + "; undefined")
    result = page.evaluate(
        """() => axe.run(document, {runOnly: {type: "tag", values:
        ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}})"""
    )
    return [
        {"rule": violation["id"], "nodes": [node["html"][:160] for node in violation["nodes"][:4]]}
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def test_a_link_signs_in_once(browser: Browser, live: LiveInstance) -> None:
    link = live.manage("signin_link")
    first, second = browser.new_context(), browser.new_context()
    page = first.new_page()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{live.url}/ops")
    assert page.evaluate("document.referrer") in ("", f"{live.url}/")
    late = second.new_page()
    late.goto(link)
    expect(late.get_by_role("button", name="Sign in")).to_have_count(0)
    first.close()
    second.close()


def test_the_sign_in_page_opens_no_socket(browser: Browser, live: LiveInstance) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{live.url}/login/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("connection-pill")).to_be_empty()
    context.close()
