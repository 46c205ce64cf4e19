#!/usr/bin/python3
"""opamphub's page in a real browser (headless Chromium): the walkthrough, and what hostile agents can do
to it.  SHOTS=DIR keeps the screenshots."""
import os
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from browser import Browser
from hub_bed import APPLIED, APPLYING, FAILED, Closed, Hub, opamp, text
from tap import same

HUB = PAGE = SHOTS = None
GOOD = "receivers:\n  nop:\nexporters:\n  nop:\nservice:\n  pipelines:\n    traces: {receivers: [nop], exporters: [nop]}\n"
WORDS = "Error: invalid configuration: 'receivers' unknown type: \"nosuch\", file:2:3"


class Acting:
    """An agent that takes what it is offered: applying, then applied or, with "nosuch" in it, failed."""

    def __init__(self, **kwargs):
        self.agent = HUB.agent(**kwargs)
        self.gate = threading.Event()
        self.gate.set()
        self.restarts = self.offers = 0
        self.agent.hello()
        self.thread = threading.Thread(target=self.act, daemon=True)
        self.thread.start()

    def act(self):
        a = self.agent
        try:
            while True:
                try:
                    m = a.receive(600)
                except TimeoutError:
                    continue
                if m.HasField("command"):
                    self.restarts += 1
                    a.send(a.message(health=opamp.ComponentHealth(healthy=True, start_time_unix_nano=1)))
                if not m.HasField("remote_config"):
                    continue
                self.offers += 1
                body = m.remote_config.config.config_map[""].body
                hash_ = m.remote_config.config_hash
                a.send(a.message(remote_config_status=opamp.RemoteConfigStatus(last_remote_config_hash=hash_, status=APPLYING)))
                self.gate.wait(60)
                status = opamp.RemoteConfigStatus(last_remote_config_hash=hash_, status=APPLIED)
                more = {}
                if b"nosuch" in body:
                    status = opamp.RemoteConfigStatus(last_remote_config_hash=hash_, status=FAILED, error_message=WORDS)
                else:
                    effective = opamp.EffectiveConfig()
                    effective.config_map.config_map[""].body = body + b"# with what opampd adds\nextensions: {}\n"
                    more = {"effective_config": effective}
                a.send(a.message(remote_config_status=status, **more))
        except (Closed, OSError, AttributeError):
            pass


def shot(name):
    PAGE.screenshot(os.path.join(SHOTS, name + ".png"), full=True)


def no_complaints():
    same(PAGE.console, [], "errors in the browser's console")


def open_page(where):
    PAGE.open(f"http://127.0.0.1:{HUB.page_port}/{where}")


def walkthrough():
    open_page("")
    PAGE.see("No agent has come yet")
    agent = Acting(name="collector-1", attributes={"host.name": "web1", "os.type": "linux"})
    PAGE.see("collector-1")  # without a reload
    PAGE.see("host.name=web1")
    shot("fleet")
    PAGE.click("#fleet-rows a")
    PAGE.see("Effective")
    PAGE.click("#edit")
    PAGE.see("New configuration")
    PAGE.fill("#text", "receivers: [\n")
    PAGE.see("while parsing a flow")
    PAGE.click("#send")
    PAGE.see("mend them first")
    PAGE.fill("#text", GOOD)
    PAGE.fill("#name", "traces")
    PAGE.until("document.querySelector('#problems').children.length === 0", "no error of YAML")
    agent.gate.clear()
    PAGE.click("#send")
    PAGE.until("document.querySelector('#progress-state')?.dataset.state === 'applying'", "applying")
    agent.gate.set()
    PAGE.until("document.querySelector('#progress-state')?.dataset.state === 'applied'", "applied")
    shot("editor")
    uid = text(agent.agent.uid)
    open_page(f"#/agents/{uid}")
    PAGE.see("with what opampd adds")
    PAGE.click("#tab-difference")
    PAGE.until("document.querySelectorAll('#config-pane .add').length === 1 && document.querySelectorAll('#config-pane .del').length === 0", "the difference")
    # one that the agent refuses
    open_page(f"#/configurations/new?agent={uid}")
    PAGE.see("New configuration")
    PAGE.fill("#text", "receivers:\n  nosuch:\n")
    PAGE.fill("#name", "broken")
    PAGE.click("#send")
    PAGE.until("document.querySelector('#progress-state')?.dataset.state === 'failed'", "failed")
    PAGE.see("unknown type: \"nosuch\"")
    PAGE.until("document.querySelector('#failures button')?.textContent === 'line 2'", "the line that the agent names")
    shot("failed")
    open_page(f"#/agents/{uid}")
    PAGE.until("document.querySelector('#config-error')?.textContent.includes('nosuch')", "the agent's own words in place")
    PAGE.click("#tab-offered")
    PAGE.until("document.querySelector('#config-pane .fault')?.textContent.includes('nosuch')", "beside the line")
    shot("agent")
    # the cause was mended: once more
    offers = agent.offers
    PAGE.click("#resend")
    PAGE.see("broken v1 was sent again")
    tap.until(lambda: agent.offers == offers + 1, 20, "the offer")
    PAGE.until("[...document.querySelectorAll('#history .badge')].some((b) => b.textContent === 'send again')", "its history")
    # assignments: what counts, and what does not any more
    open_page("#/configurations")
    PAGE.until("[...document.querySelectorAll('#assignments tbody tr')].map((r) => r.querySelector('.badge').textContent).join() === 'in force,superseded'", "the older one")
    shot("configurations")
    open_page(f"#/agents/{uid}")
    PAGE.see("Restart")
    # restart, with a confirmation
    PAGE.click("#restart")
    PAGE.see("Restart the agent?")
    same(agent.restarts, 0, "nothing was sent before it was confirmed")
    PAGE.click("#ask-yes")
    PAGE.see("The command to restart was sent")
    tap.until(lambda: agent.restarts == 1, 20, "the command")
    open_page("#/")
    agent.agent.close()
    PAGE.until("document.querySelector('#fleet-rows .badge')?.textContent === 'gone'", "the agent that ended is shown as gone")
    no_complaints()


def hostile():
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    a = HUB.agent(name=evil, attributes={"evil": evil, evil: "x"})
    health = opamp.ComponentHealth(healthy=False, last_error=evil, status=evil)
    health.component_health_map[evil].last_error = evil
    effective = opamp.EffectiveConfig()
    effective.config_map.config_map[evil].body = (evil + "\nkey: \"" + evil + "\"\n").encode()
    effective.config_map.config_map[evil].content_type = evil
    packages, components = opamp.PackageStatuses(error_message=evil), opamp.AvailableComponents(hash=b"h")
    packages.packages[evil].name = packages.packages[evil].agent_has_version = packages.packages[evil].error_message = evil
    components.components[evil].metadata.add(key=evil).value.string_value = evil
    components.components[evil].sub_component_map[evil].metadata.add(key=evil).value.string_value = evil
    a.hello(health=health, effective_config=effective, package_statuses=packages, available_components=components,
            custom_capabilities=opamp.CustomCapabilities(capabilities=[evil]),
            connection_settings_status=opamp.ConnectionSettingsStatus(last_connection_settings_hash=b"h", status=3, error_message=evil))
    a.config_status(b"x", FAILED, evil)
    # from the first script of each page on
    PAGE.call("Page.addScriptToEvaluateOnNewDocument", source="window.violated = []; document.addEventListener("
              "'securitypolicyviolation', (e) => window.violated.push(e.violatedDirective + ' ' + e.sample));")
    for where in ("", f"#/agents/{text(a.uid)}", "#/events"):
        open_page(where)
        PAGE.see("onerror" if where != "#/events" else "failed")
        same(PAGE.run("document.querySelectorAll('main img, main script, #fleet-rows img').length"), 0, "elements that the agent made")
        same(PAGE.run("window.violated"), [], "the policy was never asked")
        assert PAGE.run("document.title") != "owned"
    blocked = PAGE.run("""new Promise((done) => {
        document.addEventListener('securitypolicyviolation', () => done('blocked'), { once: true });
        try { document.body.insertAdjacentHTML('beforeend', '<b onclick="1">x</b>'); done('allowed'); } catch { done('blocked'); } })""")
    same(blocked, "blocked", "markup from text, by the policy")
    PAGE.console.clear()


def keyboard_and_labels():
    open_page("")
    PAGE.see("Fleet")
    PAGE.until("document.querySelectorAll('#fleet-rows tr').length > 0", "rows")
    unnamed = PAGE.run("""[...document.querySelectorAll('a, button, input, select, textarea')].filter((e) =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map((e) => e.outerHTML)""")
    same(unnamed, [], "controls without a name")
    seen = []
    for _ in range(40):
        PAGE.key("Tab", "Tab")
        seen.append(PAGE.run("document.activeElement.id || document.activeElement.textContent.trim().slice(0, 30)"))
        if PAGE.run("!!document.activeElement.closest('#fleet-rows')"):
            break
    else:
        raise AssertionError(f"no row by the keyboard: {seen}")
    assert "search" in seen and any(s.startswith("Name") for s in seen), seen
    PAGE.key("Enter", "Enter", "\r")
    PAGE.see("History")
    same(PAGE.run("document.documentElement.lang"), "en", "language")


def dark_and_small():
    page = Browser(width=390, height=800, dark=True, mobile=True)
    try:
        page.open(f"http://127.0.0.1:{HUB.page_port}/")
        page.until("document.querySelectorAll('#fleet-rows tr').length > 0", "rows")
        page.screenshot(os.path.join(SHOTS, "telephone.png"))
        same(page.run("document.documentElement.scrollWidth <= innerWidth"), True, "nothing is wider than the telephone")
        contrast = page.run("""(() => {
            const parse = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
            const light = (c) => { const [r, g, b] = parse(c).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const back = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)|transparent/.test(c)) return c; } return 'rgb(17, 23, 23)'; };
            let worst = 99;
            for (const e of document.querySelectorAll('a, h1, td, .badge, .soft, .chip, label')) {
                if (!e.textContent.trim()) continue;
                const a = light(getComputedStyle(e).color), b = light(back(e));
                worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
            }
            return worst; })()""")
        assert contrast >= 4.5, f"contrast {contrast}"
        same(page.console, [], "errors in the console")
    finally:
        page.close()


def asks_for_a_token():
    with Hub(tokens="me 0123456789abcdef0123\n") as hub:
        page = Browser()
        try:
            page.open(f"http://127.0.0.1:{hub.page_port}/")
            page.see("asks for a token")
            page.fill("#token", "wrong")
            page.run("document.querySelector('dialog form').requestSubmit()")
            page.see("no such token")
            page.fill("#token", "0123456789abcdef0123")
            page.run("document.querySelector('dialog form').requestSubmit()")
            page.see("No agent has come yet")
            same(page.run("document.cookie"), "", "the cookie is not for scripts")
        finally:
            page.close()


def main():
    global HUB, PAGE, SHOTS
    with tempfile.TemporaryDirectory(prefix="opampd-shots-") as directory:
        SHOTS = os.environ.get("SHOTS", directory)
        HUB = Hub()
        try:
            PAGE = Browser()
            try:
                tap.run([
                    ("the walkthrough: appears, configured, applying, applied, refused, restarted, gone", walkthrough),
                    ("nothing that an agent says becomes markup or script", hostile),
                    ("by the keyboard, with names for every control", keyboard_and_labels),
                    ("dark, on a telephone, readable", dark_and_small),
                    ("a token is asked for", asks_for_a_token),
                ])
            finally:
                PAGE.close()
        finally:
            HUB.close()


main()
