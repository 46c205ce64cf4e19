"""What a browser that was led astray, or anybody who reaches the page's port, may do to opamphub: (name, act, the status
or what else it sees, why, memory, quick).  An act gets one connection (hub_stage.Page); the hub wants a token."""
import json
import socket
import time

from agent_attacks import slowly
from peers import L, MIB, opamp
from server_attacks import Attack

TOKEN = "0123456789abcdef0123"
JSON = "application/json"
CHECK = "/api/v1/check"
BODIES, ANSWERS = L["LIMIT_HUB_WEB_BODIES"], L["LIMIT_HUB_WEB_ANSWERS"]
PARSED = (L["LIMIT_HUB_JSON_FACTOR"] + 3) * 17 * MIB + 16 * MIB


def ask(method="GET", path="/api/v1/agents", body=None, token=TOKEN, host=None, length=True, **headers):
    """A request with these headers; a value of None leaves one out."""
    def act(c):
        told = {"Host": host or f"127.0.0.1:{c.port}", "Authorization": f"Bearer {token}" if token else None}
        if body is not None:
            told["Content-Type"] = JSON
            if length:
                told["Content-Length"] = len(body)
        told.update({k.replace("_", "-"): v for k, v in headers.items()})
        text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in told.items() if v is not None) + "\r\n"
        c.put(text.encode("latin-1") + (body or b""))
        return c.status()
    return act


def raw(text):
    def act(c):
        c.put(text.replace("HOST", f"127.0.0.1:{c.port}").replace("TOKEN", TOKEN).encode("latin-1"))
        return c.status()
    return act


def smuggled(first):
    """What follows a request that is refused is no request: one answer, and the end."""
    def act(c):
        second = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{c.port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        c.put((first.replace("HOST", f"127.0.0.1:{c.port}").replace("TOKEN", TOKEN) + second).encode("latin-1"))
        c.sock.settimeout(10)
        while c.more():
            pass
        answers = c.data.count(b"HTTP/1.1 ")
        return f"{c.data.split()[1].decode()}, {answers} answer" + ("s" if answers > 1 else "")
    return act


def wrong_tokens(c):
    """Guessing is slowed down; who has the token is let in all the same afterwards."""
    seen = set()
    for n in range(40):
        seen.add(ask(token=f"guess-{n:016d}")(c.another()))
    return ", ".join(sorted(seen)) + "; then " + ask()(c.another())


def cookies(c):
    forged = ["opamphub=", "opamphub=me.99999999999." + "0" * 64, "opamphub=.." + "." * 70, "a=b; opamphub=me.99999999999." + "f" * 64 + "; c=d",
              "opamphub=" + "x" * 8000, "opamphub=me." + "9" * 400 + "." + "0" * 64]
    return ", ".join(sorted({ask(token=None, Cookie=value)(c.another()) for value in forged}))


def crowd(begin, count=300):
    """All the places taken by clients that are slow; others are served (hub_stage looks on).  How many were sent away?"""
    def act(c):
        held = []
        for _ in range(count):
            d = c.another()
            d.put(begin(d))
            held.append(d)
        time.sleep(0.5)
        seen = ask()(c.another())
        for d in held:
            d.close()
        return seen
    return act


def slow_head(_d):
    return b"GET / HT"


def slow_body(d):
    return (f"POST {CHECK} HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {JSON}\r\n"
            "Content-Length: 1000\r\n\r\n{").encode()


def long_bodies(count):
    """Bodies of 16 MiB at once, none of them whole."""
    def act(c):
        held, seen = [], {}
        for _ in range(count):
            d = c.another()
            d.put((f"POST {CHECK} HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {JSON}\r\n"
                   f"Content-Length: {16 * MIB}\r\n\r\n").encode() + bytes(MIB))
            held.append(d)
        for d in held:
            d.sock.settimeout(0.2)
            status = d.status()
            seen[status] = seen.get(status, 0) + 1
        for d in held:
            d.close()
        return ", ".join(sorted(seen))
    return act


def without_token(c):
    """16 MiB announced without a token: refused before they come."""
    d = c.another()
    d.put(f"POST {CHECK} HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nContent-Type: {JSON}\r\nContent-Length: {16 * MIB}\r\n\r\n".encode())
    return d.status()


def unread_answers(count):
    """A version of 8 MiB asked for again and again, and never read."""
    def act(c):
        hub = c.stage.hub
        number = hub.api("configurations", "POST", {"name": f"long{time.monotonic()}"})["id"]
        version = hub.api(f"configurations/{number}/versions", "POST", {"files": {"": {"body": "x" * (8 * MIB)}}})["id"]
        held = []
        for _ in range(count):
            d = c.another()
            d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            d.put(f"GET /api/v1/versions/{version} HTTP/1.1\r\nHost: 127.0.0.1:{d.port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            held.append(d)
        last = ask(path=f"/api/v1/versions/{version}")(c.another())
        for d in held:
            d.close()
        return last
    return act


def deaf_watchers(c):
    """Readers of the live changes that never read; then changes, and one that comes back for what it missed."""
    hub = c.stage.hub
    head = "GET /api/v1/stream HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\n"
    held = []
    for _ in range(70):
        d = c.another()
        d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        d.put(head.replace("HOST", f"127.0.0.1:{d.port}").replace("TOKEN", TOKEN).encode() + b"\r\n")
        held.append(d)
    statuses = {held[0].status(), held[-1].status()}
    agents = [hub.agent(name=f"loud{n}", attributes={f"a{i}": "x" * 1000 for i in range(60)}) for n in range(10)]
    for a in agents:
        a.hello()
    for turn in range(3):
        for a in agents:
            a.say(health=opamp.ComponentHealth(healthy=turn % 2 == 0))
        time.sleep(1.1)
    d = c.another()
    d.put((head + "Last-Event-ID: 1\r\n\r\n").replace("HOST", f"127.0.0.1:{d.port}").replace("TOKEN", TOKEN).encode())
    statuses.add(d.status())
    for e in held + agents:
        e.close()
    return ", ".join(sorted(statuses))


def pipelined(c):
    one = f"GET /app.js HTTP/1.1\r\nHost: 127.0.0.1:{c.port}\r\n\r\n".encode()
    c.sock.settimeout(1)
    sent = 0
    while sent < 8 * MIB:
        if not c.put(one * 200):
            return "not read from" if c.broke == "does not read" else c.broke
        sent += len(one) * 200
    return "took 8 MiB"


POST = f"POST {CHECK} HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\nContent-Type: {JSON}\r\n"
REQUESTS = [
    Attack("no token", ask(token=None), "401", quick=True),
    Attack("a wrong token", ask(token="x" * 20), "401"),
    Attack("a token in the path", ask(token=None, path=f"/api/v1/agents?token={TOKEN}"), "401"),
    Attack("the token with more behind it", ask(token=TOKEN + "0"), "401"),
    Attack("Basic in place of Bearer", ask(token=None, Authorization=f"Basic {TOKEN}"), "401"),
    Attack("forged cookies", cookies, "(400, )?401", quick=True),
    Attack("metrics without a token", ask(token=None, path="/metrics"), "401"),
    Attack("a stream without a token", ask(token=None, path="/api/v1/stream"), "401"),
    Attack("16 MiB without a token", without_token, "401", quick=True),
    Attack("another host's name (DNS rebinding)", ask(host="evil.example.com"), "421", quick=True),
    Attack("another host's name with our port", lambda c: ask(host=f"evil.example.com:{c.port}")(c), "421"),
    Attack("our name as a beginning", lambda c: ask(host=f"127.0.0.1:{c.port}.evil.example.com")(c), "421"),
    Attack("localhost with a port of another", ask(host="localhost:1"), "421"),
    Attack("two hosts", raw("GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil\r\n\r\n"), "400", quick=True),
    Attack("no host", raw("GET / HTTP/1.1\r\n\r\n"), "400|421"),
    Attack("the whole URL of another", raw("GET http://evil.example.com/ HTTP/1.1\r\nHost: HOST\r\n\r\n"), "400"),
    *[Attack(f"a change from {what}", ask("POST", CHECK, b'{"files":{}}', **headers), str(status), quick=quick) for what, headers, status, quick in (
        ("another origin", {"Origin": "https://evil.example.com"}, 403, True), ("the origin null", {"Origin": "null"}, 403, True),
        ("our host by another scheme", {"Origin": "https://127.0.0.1"}, 403, False), ("an empty origin", {"Origin": ""}, 403, False),
        ("a cross-site page", {"Sec_Fetch_Site": "cross-site"}, 403, True), ("a page of the same site", {"Sec_Fetch_Site": "same-site"}, 403, False),
        ("a form (text)", {"Content_Type": "text/plain"}, 415, True), ("a form (multipart)", {"Content_Type": "multipart/form-data; boundary=x"}, 415, False),
        ("a form (urlencoded)", {"Content_Type": "application/x-www-form-urlencoded"}, 415, False), ("no type", {"Content_Type": None}, 415, False),
        ("a type that begins like JSON", {"Content_Type": "application/jsonp"}, 415, False))],
    Attack("a deletion from another origin", ask("DELETE", "/api/v1/assignments/1", Origin="https://evil.example.com"), "403", quick=True),
    Attack("a preflight", ask("OPTIONS", CHECK, Origin="https://evil.example.com", Access_Control_Request_Method="POST"), "405"),
    *[Attack(f"the path {path}", ask(path=path), sees) for path, sees in (
        ("/../etc/passwd", "404"), ("/%2e%2e/%2e%2e/etc/passwd", "404"), ("//etc/passwd", "404"), ("/app.js/..", "404"), ("/app.js%00.html", "400"),
        ("/app.js;a=b", "404"), ("/api/v1/../../metrics", "404"), ("/api/v1//agents", "404|200"), ("/%c0%ae%c0%ae/", "400"), ("\\\\evil\\share", "400"), ("*", "400"))],
    *[Attack(f"the method {method}", ask(method), "405") for method in ("TRACE", "PUT", "CONNECT", "get")],
]
SMUGGLING = [
    Attack("Content-Length twice", smuggled(POST + "Content-Length: 2\r\nContent-Length: 100\r\n\r\n{}"), "400, 1 answer", quick=True),
    Attack("Content-Length and chunks", smuggled(POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400, 1 answer", quick=True),
    Attack("chunks", smuggled(POST + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "411, 1 answer", quick=True),
    Attack("chunks in disguise", smuggled(POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "400, 1 answer"),
    Attack("a coding that nobody knows", smuggled(POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), "(400|411|501), 1 answer"),
    Attack("a folded header", smuggled(POST + "X: a\r\n Content-Length: 5\r\n\r\n"), "400, 1 answer"),
    Attack("a lone line feed", smuggled(POST + "X: a\nContent-Length: 5\r\n\r\n"), "400, 1 answer"),
    Attack("a length with a sign", smuggled(POST + "Content-Length: +2\r\n\r\n{}"), "400, 1 answer"),
    Attack("a length of 2^64", smuggled(POST + "Content-Length: 18446744073709551616\r\n\r\n{}"), "(400|413), 1 answer"),
    Attack("a refused body, and a request in it", smuggled(POST.replace("TOKEN", "wrong") + "Content-Length: 10\r\n\r\n0123456789"), "401, 1 answer", quick=True),
    Attack("a body of the wrong type, and a request in it", smuggled(POST.replace(JSON, "text/plain") + "Content-Length: 10\r\n\r\n0123456789"), "415, 1 answer"),
]
BODY = [
    *[Attack(f"JSON: {what}", ask("POST", CHECK, body), sees, None, PARSED, quick) for what, body, sees, quick in (
        ("none", b"", "400", False), ("half", b'{"files":{"a"', "400", False), ("NUL", b'{"a\0":1}', "400", False), ("not UTF-8", b'{"files":{"\xff":1}}', "400", False),
        ("a surrogate alone", b'{"files":{"\\ud800":{"body":"x"}}}', "400", False), ("a name with NUL", b'{"files":{"a\\u0000":{"body":"x"}}}', "400", True),
        ("a key twice", b'{"files":{},"files":{}}', "400", False), ("numbers beyond all", b'{"files":1e999}', "400|422", False),
        ("a number of a megabyte", b'{"files":' + b"9" * MIB + b"}", "400|422", False), ("another type", b'{"files":[[]]}', "422", False),
        ("more behind it", b'{"files":{}} x', "400", False), ("nested a million deep", b"[" * MIB, "400", True),
        ("nested a million deep in objects", b'{"a":' * MIB, "400", False))],
    Attack("JSON: six million empty lists", ask("POST", CHECK, b"[" + b"[]," * 5900000 + b"[]]"), "413", None, PARSED, quick=True),
    Attack("JSON: 200,000 keys", ask("POST", CHECK, b"{" + b",".join(b'"k%d":0' % n for n in range(200000)) + b"}"), "413|422", None, PARSED),
    Attack("17 MiB and one byte", ask("POST", CHECK, None, Content_Type=JSON, Content_Length=17 * MIB + 1), "413", quick=True),
    *[Attack(f"YAML: {what}", lambda c, t=text: ask("POST", CHECK, json.dumps({"files": {"": {"body": t()}}}).encode())(c), "200|422", None, 12 * 17 * MIB, quick)
      for what, text, quick in (
          ("4 MiB of [", lambda: "[" * (4 * MIB), False), ("aliases of aliases", lambda: "a: &a [x,x]\n" + "".join(f"k{i}: &b{i} [*a,*a]\n" for i in range(5000)), True),
          ("a million lines", lambda: "a: b\n" * 1000000, False), ("a line of 8 MiB", lambda: "a: " + "x" * (8 * MIB), False),
          ("200,000 keys", lambda: "".join(f"k{n}: 1\n" for n in range(200000)), False), ("flow of a million", lambda: "[" + "a," * 1000000 + "]", False),
          ("a key of 8 MiB", lambda: "x" * (8 * MIB) + ": 1\n", False), ("quotes without end", lambda: "a: \"" + "x\\n" * (2 * MIB), False))],
]
SLOW = [
    Attack("70 readers of live changes that never read", deaf_watchers, "200, 503", None, 64 * MIB, quick=True),
    Attack("300 heads that are not whole", crowd(slow_head), "200", quick=True),
    Attack("300 bodies that are not whole", crowd(slow_body), "200", quick=True),
    Attack("8 bodies of 16 MiB that are not whole", long_bodies(8), "503, open", None, BODIES + 32 * MIB, quick=True),
    Attack("40 answers of 8 MiB that are not read", unread_answers(40), "503", None, ANSWERS + 96 * MIB),
    Attack("requests without end, answers never read", pipelined, "not read from", None, 16 * MIB, quick=True),
    # each byte alone is in time, the head as a whole is not
    Attack("a head byte by byte", slowly(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10, most=14), "left in time"),
]
# the rate is an address's, and those who look on have the same: these come last
RATES = [
    Attack("wrong tokens, one after the other", wrong_tokens, "401, 429; then 200", quick=True),
]
GROUPS_OF_PAGE = [("requests", REQUESTS), ("smuggling", SMUGGLING), ("bodies", BODY), ("slow", SLOW), ("rates", RATES)]
