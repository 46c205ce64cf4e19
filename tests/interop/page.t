#!/usr/bin/python3
"""The walkthrough by opamphub's page, in a real browser: hub, opampd and Collector are the real ones.

The pictures are written below build/ (interop/page): look at them after a change of the page; two of them stand
in the README: fleet.png as doc/opamphub-fleet.png and agent-top.png as doc/opamphub-agent.png.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import isolated
import tap
from bed import ROOT, Bed, users_made
from browser import Browser
from hub_bed import BUILD, Hub
from tap import same

SHOTS = os.path.join(BUILD, "interop", "page")
GOOD = """receivers:
  hostmetrics:
    collection_interval: 5s
    scrapers:
      cpu: {}
      memory: {}
exporters:
  debug:
    verbosity: basic
service:
  pipelines:
    metrics:
      receivers: [hostmetrics]
      exporters: [debug]
"""
# what the Collector says of it names no line: the page finds it by the names
BROKEN = [("nosuch", GOOD.replace("  debug:", "  nosuch:").replace("[debug]", "[nosuch]"), 'unknown type: "nosuch"', 8),
          ("key", GOOD.replace("verbosity: basic", "verbosty: basic"), "invalid keys: verbosty", 9),
          ("value", GOOD.replace("collection_interval: 5s", "collection_interval: soon"), "invalid duration", 3),
          ("reference", GOOD.replace("exporters: [debug]", "exporters: [other]"), 'references exporter "other" which is not configured', 14)]
SETTINGS = """server:
  endpoint: {endpoint}
  reconnect: {{initial_delay: 100ms, max_delay: 1s}}
capabilities:
  accepts_remote_config: true
  reports_remote_config: true
  accepts_restart_command: true
agent:
  executable: {bed.agent}
  working_directory: {work}
  log: {{directory: {log}}}
storage:
  directory: {storage}
control:
  socket: {socket}
"""


class Walk:
    """One page that is opened once: everything comes to it without a reload, but where a link is followed."""

    def __init__(self, bed, hub, page):
        self.bed, self.hub, self.page = bed, hub, page
        self.daemon = None

    def shot(self, name, most=100000):
        self.page.screenshot(os.path.join(SHOTS, name + ".png"), full=True, most=most)

    def state(self, selector, value, what, limit=60):
        self.page.until(f"document.querySelector({selector!r})?.dataset.state === {value!r}", what, limit)

    def uid(self):
        return self.hub.api("agents")["items"][0]["uid"]

    def appears(self):
        page = self.page
        page.open(f"http://127.0.0.1:{self.hub.page_port}/")
        page.see("No agent has come yet")
        page.run("window.neverReloaded = true")
        bed = self.bed
        self.daemon = bed.daemon(None, SETTINGS.format(
            endpoint=f"ws://127.0.0.1:{self.hub.agents_port}/v1/opamp", bed=bed, work=bed.path("var", "work"),
            log=bed.path("var", "log"), storage=bed.storage(), socket=bed.path("var", "control.sock")))
        page.until("document.querySelector('#fleet-rows a')?.textContent === 'otelcol-interop'", "the agent, of itself")
        page.until("document.querySelector('#fleet-rows .badge.good')?.textContent === 'healthy'", "that it is well")
        page.see("0.149.0")

    def sent(self):
        page = self.page
        page.click("#fleet-rows a")
        page.see("AcceptsRemoteConfig")
        page.click("#edit")
        page.see("New configuration")
        page.until("document.querySelector('#name').value === 'otelcol-interop'", "a name that is proposed")
        self.paste("receivers: {hostmetrics: [}\n")
        page.until("/line 1, column/.test(document.querySelector('#problems').textContent)", "the error of YAML, by its line")
        page.click("#send")
        page.see("mend them first")
        same(self.hub.api("configurations")["items"], [], "what was sent")
        self.paste(GOOD)
        page.fill("#name", "host metrics")
        page.until("document.querySelector('#problems').children.length === 0", "no error of YAML")
        page.run("""(() => { window.states = [];
            new MutationObserver(() => { const s = document.querySelector('#progress-state')?.dataset.state;
                if (s && states.at(-1) !== s) states.push(s); }).observe(document.querySelector('#progress'), { childList: true, subtree: true }); })()""")
        page.click("#send")
        self.state("#progress-state", "applied", "applied")
        states = page.run("states")
        assert states[-2:] == ["applying", "applied"] and set(states) <= {"offered", "applying", "applied"}, states
        self.shot("sent")

    def paste(self, text):
        page = self.page
        page.until("!!document.querySelector('#text')", "the editor")
        page.run("(() => { const e = document.querySelector('#text'); e.focus(); e.select(); })()")
        page.call("Input.insertText", text=text)
        page.until(f"document.querySelector('#text').value.length === {len(text)}", "the text in the editor")

    def runs(self):
        page = self.page
        page.run(f"location.hash = '#/agents/{self.uid()}'")
        page.until("document.querySelector('#config-pane')?.textContent.includes('hostmetrics')", "what runs, as the Collector says")
        page.until("document.querySelector('.tree')?.textContent.includes('pipeline:metrics')", "the health of its pipeline")
        page.until("[...document.querySelectorAll('#history .badge')].some((b) => b.textContent === 'applied')", "the history")
        page.click("#tab-difference")
        page.until("document.querySelectorAll('#config-pane .add').length > 0", "what opampd adds")
        both = page.run("[...document.querySelectorAll('#config-pane .line:not(.add):not(.del)')].map((l) => l.textContent.trim())")
        assert {"hostmetrics:", "collection_interval: 5s", "debug:", "metrics:", "- hostmetrics", "- debug"} <= set(both), both  # in order, or all differs
        self.shot("applied")

    def broken(self):
        page = self.page
        for name, text, words, line in BROKEN:
            page.run(f"location.hash = '#/configurations/new?agent={self.uid()}'")
            page.until("document.querySelector('#progress')?.hidden", "a new editor")
            self.paste(text)
            page.fill("#name", name)
            page.click("#send")
            self.state("#progress-state", "failed", f"{name} failed")
            page.until(f"document.querySelector('#failures')?.textContent.includes({words!r})", "the Collector's own words")
            same(page.run("[...document.querySelectorAll('#failures button')].map((b) => b.textContent)"), [f"line {line}"], f"{name}: where it is")
            same(page.run("document.querySelector('.gutter .fault')?.textContent"), str(line), f"{name}: marked in the editor")
            if name == "nosuch":
                self.shot("failed")
            page.run(f"location.hash = '#/agents/{self.uid()}'")
            page.until(f"document.querySelector('#config-error')?.textContent.includes({words!r})", "the words on the agent's page")
            page.click("#tab-offered")
            page.until(f"document.querySelector('#config-pane .fault .no')?.textContent === '{line}'", f"{name}: beside the line that was offered")
        page.click("#tab-effective")
        page.until("document.querySelector('#config-pane')?.textContent.includes('debug')", "the last good one runs")
        page.until("document.querySelector('#facts .badge.good')?.textContent === 'healthy'", "that it is well")
        page.click("#tab-offered")
        self.shot("agent")
        self.shot("agent-top", 950)  # README's

    def restarted(self):
        page, pid = self.page, self.daemon.agent()
        page.click("#restart")
        page.see("Restart the agent?")
        self.shot("restart")
        page.click("#ask-yes")
        page.see("The command to restart was sent")
        self.daemon.agent(30, other_than=pid)
        page.until("[...document.querySelectorAll('#history .badge')].some((b) => b.textContent === 'restart')", "the history")
        page.until("document.querySelector('#facts .badge.good')?.textContent === 'healthy'", "that it is well again")

    def gone(self):
        page = self.page
        page.run("location.hash = '#/'")
        page.until("document.querySelector('#fleet-rows .badge')?.textContent === 'healthy'", "the fleet")
        page.run("document.querySelector('#toasts').replaceChildren()")
        self.shot("fleet", 500)  # README's
        same(self.daemon.stop(30), 0, "opampd's exit status")
        page.until("document.querySelector('#fleet-rows .badge')?.textContent === 'gone'", "that it is gone")
        self.shot("gone")
        same(page.run("window.neverReloaded"), True, "the page that was opened first")
        same(page.console, [], "errors in the browser's console")

    def elsewhere(self):
        """The same in the dark, and on a telephone: pictures to look at, and nothing wider than the screen."""
        where = {"fleet": "", "agent": f"#/agents/{self.uid()}", "editor": f"#/configurations/new?agent={self.uid()}", "configurations": "#/configurations"}
        for kind, arguments in (("dark", {"dark": True}), ("telephone", {"width": 390, "height": 800, "mobile": True}),
                                ("telephone-dark", {"width": 390, "height": 800, "mobile": True, "dark": True})):
            other = Browser(**arguments)
            try:
                for name, place in where.items():
                    other.open(f"http://127.0.0.1:{self.hub.page_port}/{place}")
                    other.until("document.querySelectorAll('main h1').length === 1 && !document.querySelector('main').textContent.includes('Reading\\u2026')", name)
                    other.until("!!document.querySelector('.live.on') && (location.hash.length > 2 || document.querySelectorAll('#fleet-rows tr').length > 0)", name)
                    same(other.run("document.documentElement.scrollWidth <= innerWidth"), True, f"{kind}, {name}: as wide as the screen")
                    other.screenshot(os.path.join(SHOTS, f"{name}-{kind}.png"), full=True)
                same(other.console, [], "errors in the browser's console")
            finally:
                other.close()


def all_steps():
    os.makedirs(SHOTS, exist_ok=True)
    if ROOT:  # the Collector's own metrics have one port
        isolated.enter(())
    status = 1
    hub = Hub()
    try:
        with Bed("root" if ROOT else "user", "interop/otelcol") as bed:
            page = Browser()
            try:
                walk = Walk(bed, hub, page)
                steps = [
                    ("page: the agent appears without a reload, healthy, with its version", walk.appears),
                    ("page: a configuration pasted, its YAML checked by line, sent, applying, applied", walk.sent),
                    ("page: the effective configuration, the pipeline's health and the history show it", walk.runs),
                    ("page: broken ones show the Collector's words in place, beside their line", walk.broken),
                    ("page: restart, with a confirmation: another process, and well", walk.restarted),
                    ("page: the daemon that was stopped is shown as gone", walk.gone),
                    ("page: dark and on a telephone", walk.elsewhere),
                ]
                try:
                    tap.run(steps)
                except SystemExit as e:
                    status = e.code
                assert status == 0, "a step failed: this is what was logged"
            finally:
                page.close()
    finally:
        hub.close()


users_made()
all_steps()
