#!/usr/bin/python3
"""opamphub's API: what its document promises, who may ask, and what hostile clients get."""
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from hub_bed import APPLIED, Hub, opamp, text
from tap import same, until

HUB = None
EVIL = "<script>alert(1)</script>\"'&\u202e\u0007"


# ---- the document: each answer is compared with its schema

def schema_of(document, schema):
    while "$ref" in schema:
        node = document
        for part in schema["$ref"].lstrip("#/").split("/"):
            node = node[part]
        schema = node
    return schema


def fits(document, schema, value, where):
    """As much of JSON Schema as the document uses."""
    schema = schema_of(document, schema)
    kinds = schema.get("type")
    if kinds is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        kind = ("null" if value is None else "boolean" if isinstance(value, bool) else "integer" if isinstance(value, int) else
                "number" if isinstance(value, float) else "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object")
        assert kind in kinds or (kind == "integer" and "number" in kinds), f"{where}: {kind}, not {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), f"{where}: {value!r} does not fit {schema['pattern']}"
    if isinstance(value, dict):
        for name in schema.get("required", []):
            assert name in value, f"{where}: no {name}"
        properties = schema.get("properties")
        for name, item in value.items():
            if properties is not None and name in properties:
                fits(document, properties[name], item, f"{where}.{name}")
            elif properties is not None:
                more = schema.get("additionalProperties", True)
                assert more is not False, f"{where}: {name} is not in the document"
                if isinstance(more, dict):
                    fits(document, more, item, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            fits(document, schema["items"], item, f"{where}[{i}]")


class Documented:
    """Asks the hub, and compares request and answer with the document.  Remembers what was asked."""

    def __init__(self, hub):
        self.hub = hub
        self.document = hub.api("openapi.json")
        self.asked = set()

    def operation(self, method, path):
        for template, operations in self.document["paths"].items():
            if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path.split("?")[0]) and method.lower() in operations:
                return template, operations[method.lower()]
        raise AssertionError(f"{method} {path} is not in the document")

    def __call__(self, method, path, body=None, want=200):
        template, operation = self.operation(method, path)
        status, headers, data = self.hub.request(method, path, body)
        same(status, want, f"{method} {path} {data[:300]}")
        self.asked.add((method, template, str(status)))
        answer = operation["responses"].get(str(status))
        assert answer is not None, f"{method} {template}: {status} is not in the document"
        content = schema_of(self.document, answer).get("content", {})
        if not content:
            same(data, b"", "an answer without content")
            return None
        kind = headers["Content-Type"].split(";")[0]
        assert kind in content, f"{method} {template}: {kind} is not in the document"
        if kind != "application/json":
            return data
        value = json.loads(data)
        fits(self.document, content[kind].get("schema", {}), value, f"{method} {template}")
        return value


def as_documented():
    with Hub("--custom-capability", "org.example.x") as hub:
        ask = Documented(hub)
        a = hub.agent(attributes={"host.name": "h"})
        a.hello(custom_capabilities=opamp.CustomCapabilities(capabilities=["org.example.x"]))
        u = text(a.uid)
        ask("GET", "/api/v1/agents?sort=last_seen&order=desc&connected=true&healthy=true&config=none&selector=host.name%3Dh&search=tes")
        ask("GET", "/api/v1/agents?sort=nonsense", want=400)
        ask("GET", f"/api/v1/agents/{u}")
        ask("GET", f"/api/v1/agents/{text(b'x' * 16)}", want=404)
        ask("GET", f"/api/v1/agents/{u}/events?limit=5")
        ask("GET", "/api/v1/events")
        ask("GET", "/api/v1/attributes")
        c = ask("POST", "/api/v1/configurations", {"name": "c"}, want=201)["id"]
        ask("POST", "/api/v1/configurations", {"name": "c"}, want=422)
        v = ask("POST", f"/api/v1/configurations/{c}/versions", {"files": {"": {"body": "a: 1\n", "content_type": "text/yaml"}}, "comment": "why"}, want=201)["id"]
        ask("POST", f"/api/v1/configurations/{c}/versions", {"files": []}, want=422)
        ask("POST", "/api/v1/configurations/99/versions", {"files": {}}, want=404)
        ask("GET", "/api/v1/configurations")
        ask("GET", f"/api/v1/configurations/{c}")
        ask("GET", f"/api/v1/configurations/{c}/versions")
        ask("GET", "/api/v1/configurations/99", want=404)
        ask("GET", "/api/v1/configurations/99/versions", want=404)
        nobody = text(b"x" * 16)
        ask("POST", f"/api/v1/agents/{nobody}/commands", {"type": "restart"}, want=404)
        ask("POST", f"/api/v1/agents/{nobody}/messages", {"capability": "c", "type": "t", "data": ""}, want=404)
        ask("GET", f"/api/v1/versions/{v}")
        ask("GET", "/api/v1/versions/99", want=404)
        ask("POST", "/api/v1/check", {"files": {"": {"body": "a: [\n"}}})
        ask("POST", "/api/v1/check", {"files": {"": {}}}, want=422)
        n = ask("POST", "/api/v1/assignments", {"version": v, "selector": "host.name=h"}, want=201)["id"]
        ask("POST", "/api/v1/assignments", {"version": 99, "selector": ""}, want=422)
        ask("POST", "/api/v1/assignments", {"version": v, "selector": "", "agent": u}, want=422)
        ask("GET", "/api/v1/assignments")
        ask("GET", f"/api/v1/assignments/{n}/progress")
        ask("GET", "/api/v1/assignments/99/progress", want=404)
        a.receive()
        a.config_status(bytes.fromhex(hub.api(f"versions/{v}")["hash"]), APPLIED)
        ask("GET", f"/api/v1/agents/{u}")
        ask("DELETE", f"/api/v1/assignments/{n}", want=204)
        ask("DELETE", f"/api/v1/assignments/{n}", want=404)
        o = ask("POST", "/api/v1/settings-offers", {"selector": "", "settings": {"own_logs": {"endpoint": "https://x"}}}, want=201)["id"]
        ask("POST", "/api/v1/settings-offers", {"selector": "", "settings": {"other": {}}}, want=422)
        ask("GET", "/api/v1/settings-offers")
        ask("DELETE", f"/api/v1/settings-offers/{o}", want=204)
        ask("DELETE", "/api/v1/settings-offers/99", want=404)
        ask("POST", f"/api/v1/agents/{u}/commands", {"type": "restart"}, want=202)
        ask("POST", f"/api/v1/agents/{u}/commands", {"type": "explode"}, want=422)
        ask("POST", f"/api/v1/agents/{u}/messages", {"capability": "org.example.x", "type": "t", "data": "AA=="}, want=202)
        ask("POST", f"/api/v1/agents/{u}/messages", {"capability": "org.example.x", "type": "t", "data": "A"}, want=422)
        ask("POST", f"/api/v1/agents/{u}/messages", {"capability": "org.other", "type": "t", "data": ""}, want=409)
        ask("POST", "/api/v1/session", {"token": "any"})
        ask("DELETE", f"/api/v1/configurations/{c}", want=204)
        ask("DELETE", f"/api/v1/configurations/{c}", want=404)
        ask("DELETE", f"/api/v1/agents/{u}", want=202)
        ask("DELETE", f"/api/v1/agents/{u}", want=404)
        ask("GET", "/api/v1/openapi.json")
        ask("GET", "/metrics")
        ask.asked.add(("GET", "/api/v1/stream", "200"))  # seen by the test of the stream
        told = {(m.upper(), p, s) for p, ops in ask.document["paths"].items() for m, o in ops.items() if m != "parameters" for s in o["responses"]}
        left = {t for t in told - ask.asked if t[2] not in ("400", "401", "403", "409", "413", "415", "421", "429")}
        same(sorted(left), [], "what the document promises and nobody asked for")


# ---- who may ask

def tokens():
    with Hub(tokens="me 0123456789abcdef0123\nci fedcba9876543210fedc\n") as hub:
        for headers in ({"Authorization": None}, {"Authorization": "Bearer wrong"}, {"Authorization": None, "Cookie": "opamphub=me.9999999999." + "0" * 64}):
            same(hub.request("GET", "/api/v1/agents", headers=headers)[0], 401, str(headers))
        same(hub.request("GET", "/metrics", headers={"Authorization": None})[0], 401, "figures")
        same(hub.request("GET", "/", headers={"Authorization": None})[0], 200, "the page itself says nothing")
        status, headers, _ = hub.request("POST", "/api/v1/session", {"token": "fedcba9876543210fedc"}, {"Authorization": None})
        same(status, 200, "a session")
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie, cookie
        cookie = cookie.split(";")[0]
        same(hub.request("GET", "/api/v1/agents", headers={"Authorization": None, "Cookie": "x=y; " + cookie})[0], 200, "with the cookie")
        forged = cookie.replace("ci.", "me.")
        same(hub.request("GET", "/api/v1/agents", headers={"Authorization": None, "Cookie": forged})[0], 401, "another name in it")
        hub.api("configurations", "POST", {"name": "c"})
        v = hub.api("configurations/1/versions", "POST", {"files": {}})["id"]
        same(hub.api(f"versions/{v}")["author"], "me", "the author is the token's name")
        for _ in range(30):
            status, headers, _ = hub.request("GET", "/api/v1/agents", headers={"Authorization": "Bearer guess"})
            if status == 429:
                break
        same(status, 429, "guesses are slowed down")
        assert int(headers["Retry-After"]) > 0
        same("0123456789abcdef" in hub.log(), False, "a token in the log")


def other_sites():
    ours = f"http://127.0.0.1:{HUB.page_port}"
    for headers, want in (({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": ours}, 201),
                          ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403), ({"Sec-Fetch-Site": "same-origin"}, 201),
                          ({"Content-Type": "text/plain"}, 415), ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
                          ({"Content-Type": "application/jsonx"}, 415), ({"Host": "evil.example"}, 421),
                          ({"Host": f"localhost:{HUB.page_port}"}, 201), ({"Host": f"127.0.0.1.evil.example:{HUB.page_port}"}, 421)):
        name = os.urandom(4).hex()
        same(HUB.request("POST", "/api/v1/configurations", {"name": name}, headers)[0], want, str(headers))
    _, headers, _ = HUB.request("GET", "/")
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"):
        assert part in policy, policy
    same([headers["X-Content-Type-Options"], headers["Referrer-Policy"], headers["Cache-Control"]], ["nosniff", "no-referrer", "no-store"], "headers")
    assert "Access-Control-Allow-Origin" not in headers


def beyond_loopback():
    program = os.path.join(HUB.work, "opamphub")

    def refused(*options):
        done = subprocess.run([program, "-n", "--store", HUB.store, *options], capture_output=True, text=True, timeout=20)
        assert done.returncode != 0, options
        return done.stderr
    cert, key = HUB.file("cert.pem", "x"), HUB.file("key.pem", "x")
    for side in ("agents", "page"):
        assert f"add --{side}-tls-cert" in refused(f"--{side}", "0.0.0.0:4320"), "TLS is missing"
        assert f"add --{side}-token-file" in refused(f"--{side}", "[::]:4320", f"--{side}-tls-cert", cert, f"--{side}-tls-key", key), "a token is missing"
    assert "not an address and a port" in refused("--page", "localhost:80")
    assert "go together" in refused("--page-tls-cert", cert), "a certificate without its key"
    junk = subprocess.run([program, "--store", os.path.join(HUB.work, "other"), "--agents", "127.0.0.1:0", "--page", "127.0.0.1:0",
                           "--page-tls-cert", cert, "--page-tls-key", key], capture_output=True, text=True, timeout=20)
    assert junk.returncode == 1 and "no certificate" in junk.stderr, junk
    short = HUB.file("short", "me secret\n")
    assert "at least 16" in refused("--page-token-file", short)


# ---- hostile clients

def talk(data, more=0.0):
    s = socket.create_connection(("127.0.0.1", HUB.page_port), 20)
    s.settimeout(20)
    s.sendall(data)
    if more:
        time.sleep(more)
    answer = b""
    try:
        while True:
            got = s.recv(65536)
            if not got:
                break
            answer += got
            if b"\r\n\r\n" in answer and b"Connection: close" not in answer:
                break
    except (TimeoutError, ConnectionResetError):
        pass
    s.close()
    return answer


def hostile_requests():
    host = f"Host: 127.0.0.1:{HUB.page_port}\r\n"
    post = f"POST /api/v1/check HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
    rss = rss_of_store()
    for want, request in (
            (400, "garbage\r\n\r\n"), (400, "GET / HTTP/1.0\r\n\r\n"), (400, f"GET / HTTP/1.1\r\n{host}A : b\r\n\r\n"),
            (400, f"GET /%zz HTTP/1.1\r\n{host}\r\n"), (400, f"GET /%00 HTTP/1.1\r\n{host}\r\n"), (400, f"GET /%ff HTTP/1.1\r\n{host}\r\n"),
            (404, f"GET /../../etc/passwd HTTP/1.1\r\n{host}\r\n"), (404, f"GET /api/v1/a/b/c/d/e/f/g HTTP/1.1\r\n{host}\r\n"),
            (405, f"PATCH / HTTP/1.1\r\n{host}\r\n"), (411, post + "Transfer-Encoding: chunked\r\n\r\n"), (400, post + "Content-Length: -1\r\n\r\n"),
            (413, post + "Content-Length: 99999999999\r\n\r\n"), (400, post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            (400, f"GET / HTTP/1.1\r\n{host}" + "A: b\r\n" * 200 + "\r\n"), (400, "GET /" + "a" * 40000 + " HTTP/1.1\r\n\r\n"),
            (400, post + "Content-Length: 1\r\n\r\n{"), (400, post + f"Content-Length: {1 << 20}\r\n\r\n" + "[" * (1 << 20)),
            (422, post + "Content-Length: 2\r\n\r\n[]"), (400, post + "Content-Length: 13\r\n\r\n{\"a\":1,\"a\":2}"),
            (400, post + "Content-Length: 4\r\n\r\n\xff\xfe\xfd\xfc"), (421, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")):
        answer = talk(request.encode("latin-1"))
        same(int(answer.split()[1]) if answer else None, want, request[:80])
    deep = {"files": {"": {"body": "[" * 100000}}}
    same(len(HUB.api("check", "POST", deep, 200)["problems"]), 1, "YAML's depth")
    bomb = "a: &a [x,x]\n" + "".join(f"k{i}: &b{i} [*a,*a]\n" for i in range(500))
    assert len(HUB.api("check", "POST", {"files": {"": {"body": bomb}}}, 200)["problems"]) <= 100
    assert rss_of_store() - rss < 64 * 1024, "memory after all that"
    same(HUB.request("GET", "/")[0], 200, "it serves on")


def rss_of_store():
    return int(proc.status(HUB.children()["store"])["VmRSS"].split()[0])


def slow_clients():
    held = [socket.create_connection(("127.0.0.1", HUB.page_port), 20) for _ in range(200)]
    for s in held:
        s.sendall(b"GET / HT")
    begun = time.monotonic()
    same(HUB.request("GET", "/")[0], 200, "others are served")
    assert time.monotonic() - begun < 5
    reader = socket.create_connection(("127.0.0.1", HUB.page_port), 20)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = f"GET /style.css HTTP/1.1\r\nHost: 127.0.0.1:{HUB.page_port}\r\n\r\n".encode()
    rss = rss_of_store()
    reader.settimeout(1)
    try:
        for _ in range(5000):
            reader.sendall(request)
    except TimeoutError:
        pass
    assert rss_of_store() - rss < 16 * 1024, "what is not read does not pile up"
    for s in held:
        s.settimeout(30)
        same(s.recv(100), b"", "half a request is ended after some seconds")
        s.close()
    reader.close()


def script_everywhere():
    a = HUB.agent(name=EVIL, attributes={EVIL: EVIL, "plain": EVIL})
    health = opamp.ComponentHealth(healthy=False, last_error=EVIL, status=EVIL)
    health.component_health_map[EVIL].last_error = EVIL
    effective = opamp.EffectiveConfig()
    effective.config_map.config_map[EVIL].body = EVIL.encode()
    effective.config_map.config_map["binary"].body = b"\xff\x00"
    a.hello(health=health, effective_config=effective)
    a.config_status(EVIL.encode(), 3, EVIL)
    for path in ("agents", f"agents/{text(a.uid)}", "events", "attributes"):
        status, headers, data = HUB.request("GET", "/api/v1/" + path)
        same([status, headers["Content-Type"]], [200, "application/json"], path)
        json.loads(data)
    seen = HUB.seen(a.uid)
    same([seen["name"], seen["last_error"], seen["attributes"]["plain"]], [EVIL, EVIL, EVIL], "kept as they are")
    same(seen["effective"]["files"]["binary"]["hex"], "ff00", "what is not text")
    _, _, data = HUB.request("GET", "/api/v1/agents/" + EVIL.encode().hex())
    assert b"<script" not in data
    assert "\x07" not in HUB.log() and "\u202e" not in HUB.log()


# ---- live changes

class Stream:
    def __init__(self, hub, last=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", hub.page_port, timeout=30)
        self.connection.request("GET", "/api/v1/stream", headers={"Last-Event-ID": last} if last else {})
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        same(self.answer.headers["Content-Type"], "text/event-stream", "type")
        self.events, self.id = [], None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        kind, data = None, None
        try:
            for line in self.answer:
                line = line.decode().rstrip("\n")
                if line.startswith("id: "):
                    self.id = line[4:]
                elif line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif not line and kind:
                    self.events.append((kind, data))
                    kind = None
        except (OSError, ValueError, AttributeError):
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def stream():
    s = Stream(HUB)
    until(lambda: s.events, 10, "hello")
    a = HUB.agent(name="live")
    a.hello()
    until(lambda: any(k == "agent" and d["uid"] == text(a.uid) and d["connected"] for k, d in s.events), 10, "the agent appears")
    a.close()
    until(lambda: any(k == "agent" and d["uid"] == text(a.uid) and not d["connected"] for k, d in s.events), 10, "it is gone")
    until(lambda: any(k == "counts" for k, _ in s.events), 10, "counts")
    until(lambda: s.id, 5, "an id")
    last = s.id
    s.close()
    HUB.api(f"agents/{text(a.uid)}", "DELETE", want=202)
    t = Stream(HUB, last)
    until(lambda: any(k == "gone" and d["uid"] == text(a.uid) for k, d in t.events), 10, "what was missed is told")
    t.close()
    u = Stream(HUB, "1")
    until(lambda: u.events and u.events[0][0] == "reset", 10, "too long ago: everything is to be read anew")
    u.close()
    watchers = [Stream(HUB) for _ in range(64)]
    connection = http.client.HTTPConnection("127.0.0.1", HUB.page_port, timeout=10)
    connection.request("GET", "/api/v1/stream")
    same(connection.getresponse().status, 503, "one watcher too many")
    connection.close()
    for w in watchers:
        w.close()


def long_history():
    """More than is kept happens while a watcher is away: it reads everything anew, and what is kept is told as it was."""
    before = HUB.children()
    live = Stream(HUB)
    until(lambda: live.id, 10, "hello")
    first = live.id

    def happens(turn):
        """3 MB of news: 25 agents come and go; gives the last id before them."""
        last = live.id
        agents = [HUB.agent(name=f"long{turn}-{n}", attributes={f"a{i}": "x" * 1000 for i in range(60)}) for n in range(25)]
        uids = {text(a.uid) for a in agents}

        def told(connected):
            return uids <= {d["uid"] for k, d in live.events if k == "agent" and d["connected"] == connected}
        for a in agents:
            a.hello()
        until(lambda: told(True), 30, "25 agents to be told")
        for a in agents:
            a.close()
        until(lambda: told(False), 30, "their end to be told")
        return last, uids
    happens(1)
    last, uids = happens(2)
    live.close()
    gone = Stream(HUB, first)
    until(lambda: gone.events, 10, "an answer to who was away for long")
    same(gone.events[0][0], "reset", "what it is told")
    back = Stream(HUB, last)
    until(lambda: any(k == "back" for k, _ in back.events), 30, "all that was missed")
    same(uids - {d["uid"] for k, d in back.events if k == "agent"}, set(), "agents that were not told again")
    for s in (gone, back):
        s.close()
    same(HUB.children(), before, "the hub's processes")


def figures():
    _, headers, data = HUB.request("GET", "/metrics")
    lines = data.decode().splitlines()
    assert headers["Content-Type"].startswith("text/plain"), headers
    for line in lines:
        assert re.fullmatch(r"# (HELP|TYPE) opamphub_\w+ .+|opamphub_\w+(\{\w+=\"\w+\"\})? \d+", line), line
    typed = {m.group(1) for line in lines if (m := re.match(r"# TYPE (\w+)", line))}
    assert all(re.split(r"[ {]", line)[0] in typed for line in lines if not line.startswith("#"))


def main():
    global HUB
    HUB = Hub()
    try:
        tap.run([
            ("every operation answers as the OpenAPI document says", as_documented),
            ("CC-07 tokens, sessions, guesses", tokens),
            ("requests of other sites change nothing", other_sites),
            ("beyond loopback it wants TLS and a token", beyond_loopback),
            ("hostile requests and JSON", hostile_requests),
            ("slow clients, and those that do not read", slow_clients),
            ("script in every string that an agent can send", script_everywhere),
            ("live changes are streamed, and told again after a break", stream),
            ("live changes: more than is kept, and what is kept", long_history),
            ("figures for Prometheus", figures),
        ])
    finally:
        HUB.close()


main()
