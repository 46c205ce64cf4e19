#!/usr/bin/python3
"""Canaries: no secret of ours is in anything that leaves, is logged, or can be read by others (I12)."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import proc
import tap
from bed import ROOT, Bed, for_all, users_made
from opampserver import APPLIED, FAILED, make_tls
from tap import same, until


def link_secret(pid):
    with open(f"/proc/{pid}/fd/4", encoding="ascii") as f:
        return re.search("[0-9a-f]{64}", f.read())[0]


def look(bed, server, daemon, secrets, agent_may=()):
    """Fails when a secret is where it has no business."""
    places = {}
    for i, record in enumerate(server.messages):
        places[f"message {i} to the server"] = record.raw
    places["opampd's log"] = "\n".join(daemon.log()).encode()
    places["agent.log"] = bed.agent_log().encode()
    for pid in proc.running_from(bed.dir):
        name = proc.arguments(pid)[0] if proc.arguments(pid) else str(pid)
        places[f"cmdline of {name}"] = proc.read(pid, "cmdline")
        places[f"environ of {name} ({pid})"] = proc.read(pid, "environ")
    for top, _, files in os.walk(bed.path("var")):
        for name in files:
            if not os.path.isfile(os.path.join(top, name)):
                continue
            with open(os.path.join(top, name), "rb") as f:
                places[os.path.join(top, name)] = f.read()
    if os.path.exists(bed.path("opampctl")):
        for verb in (["status"], ["-j", "status"], ["config", "effective"], ["config", "remote"], ["health"], ["history"], ["sandbox"],
                     ["-j", "sandbox"]):
            _, out, err = bed.ctl(*verb, check=False)
            places[f"opampctl {' '.join(verb)}"] = (out + err).encode()
    for what, secret in secrets.items():
        for place, content in places.items():
            if what in agent_may and "environ of " + bed.agent in place:
                continue
            assert secret.encode() not in content, f"{what} is in {place}"


def canaries(user):
    if not ROOT:
        raise tap.Skip("only root can look everywhere")
    with Bed(user) as bed:
        context = make_tls(bed.dir, client=True)
        os.chmod(bed.path("client.key"), 0o644 if user != "root" else 0o600)
        server = bed.server(tls=context)
        with open(bed.path("client.key"), encoding="ascii") as f:
            key_lines = f.read().splitlines()
        over = {
            "server": {"headers": {"Authorization": "Bearer ${env:TOKEN}", "X-Second": "canary-second-header"},
                       "tls": {"ca_file": bed.path("ca.pem"), "cert_file": bed.path("client.pem"), "key_file": bed.path("client.key")}},
            "agent": {"env": {"AGENT_KEY": "canary-agent-environment"}},
            "policy": {"remote_expansion": ["env:AGENT_KEY"]},
        }
        daemon = bed.daemon(server, over, verbose=True, env={"PATH": os.environ["PATH"], "TOKEN": "canary-authorization"})
        server.wait_healthy()
        same(server.connections[0].headers["Authorization"], "Bearer canary-authorization", "the header that was sent")
        secrets = {"the header's value": "canary-authorization", "the second header's value": "canary-second-header",
                   "the TLS key": key_lines[1][8:40], "the agent's environment": "canary-agent-environment"}
        pid = daemon.agent()
        secrets["the link's first secret"] = link_secret(pid)
        server.wait_status(APPLIED, server.offer({"": "fake:\n  fake_name: one\n  fake_value: ${env:AGENT_KEY}\n"}))
        now = daemon.agent()
        secrets["the link's second secret"] = link_secret(now)
        assert len(set(secrets.values())) == len(secrets), "a secret was used twice"
        server.wait_status(FAILED, server.offer({"": "fake:\n  fake_name: bad\n  fake_exit: 4\n"}))
        again = daemon.agent()
        secrets["the link's secret after a rollback"] = link_secret(again)
        for name in ("link", "netd", "confd"):
            victim = daemon.kill(name)
            daemon.child(name, 20, other_than=victim)
        since = server.mark()
        until(lambda: server.connections[-1].closed is None and server.connections[-1].count, 10, "a connection")
        server.full_state()
        server.wait(lambda m: m.HasField("effective_config"), 10, "the full state", since)
        proc.kill(again)
        daemon.agent(other_than=again)
        server.wait_healthy(False, since=since)
        look(bed, server, daemon, secrets, agent_may=("the agent's environment",))
        same(daemon.stop(), 0, "exit status")
        look(bed, server, daemon, secrets)


def stranger(user):
    """Without the secret, or as another user, nobody speaks for the agent."""
    import asyncio
    import websockets
    with Bed(user) as bed:
        server = bed.server()
        daemon = bed.daemon(server)
        server.wait_healthy()
        with open(bed.storage("agent", "effective.yaml"), encoding="utf-8") as f:
            port = int(re.search(r"ws://127\.0\.0\.1:(\d+)/", f.read())[1])
        secret = link_secret(daemon.agent()) if ROOT else "0" * 64

        async def knock(headers):
            try:
                async with websockets.connect(f"ws://127.0.0.1:{port}/v1/opamp", extra_headers=headers, open_timeout=5, compression=None) as ws:
                    await ws.send(b"\0\x0a\x10" + b"x" * 16)
                    return await asyncio.wait_for(ws.recv(), 5)
            except (OSError, websockets.WebSocketException, asyncio.TimeoutError, asyncio.IncompleteReadError):
                return None
        attempts = [{}, {"X-Opampd-Link": "0" * 64}, {"X-Opampd-Link": secret[:63]}]
        if ROOT:  # we are root, and the agent's user is another
            attempts.append({"X-Opampd-Link": secret})
        for headers in attempts:
            same(asyncio.run(knock(headers)), None, f"an answer to a stranger with {list(headers)}")
        since = server.mark()
        server.full_state()
        server.wait(lambda m: m.health.healthy, 10, "the agent to be as well as before", since)


TESTS = [
    ("I12 no secret where it has no business: server, logs, arguments, environments, files, opampctl", canaries),
    ("I15 nobody but the agent speaks over its link", stranger),
]

users_made()
tap.run(for_all(TESTS))
