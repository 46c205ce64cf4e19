#!/usr/bin/python3
"""A real Collector in the strict sandbox, with the lists of dist/examples/collector-strict.yaml."""
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import tap
from bed import Bed, for_all, users_made
from examples import from_example
from isolated import isolated
from opampserver import APPLIED, FAILED
from sink import Sink
from tap import Skip, until

PORTS = (8888, 4317, 4318)
CONFIG = """receivers:
  hostmetrics:
    collection_interval: 1s
    initial_delay: 0s
    scrapers: {cpu: {}, memory: {}, load: {}, disk: {}, filesystem: {}, network: {}, paging: {}, processes: {}, system: {}}
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:GRPC"}
exporters:
  debug: {}
  otlphttp:
    endpoint: http://127.0.0.1:SINK
    compression: none
    retry_on_failure: {enabled: false}
    sending_queue: {enabled: false}
TLS
service:
  pipelines:
    metrics:
      receivers: [hostmetrics, otlp]
      exporters: [debug, otlphttp]
"""


def config(grpc=4317, sink=4318, tls=""):
    return CONFIG.replace("GRPC", str(grpc)).replace("SINK", str(sink)).replace("TLS", tls)


def landlock_version():
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


def up(bed):
    server = bed.server()
    text = from_example("collector-strict.yaml", bed, server, {"/usr/bin/otelcol-contrib": bed.agent})
    daemon = bed.daemon(server, text)
    server.wait_healthy(seconds=30)
    return server, daemon


def seen_in(sink, names):
    data = b"".join(body for _, _, body in list(sink.posts))
    return all(name in data for name in names)


def works(user):
    with Bed(user, "interop/otelcol") as bed:
        sink = Sink(4318)
        bed.servers.append(sink)
        server, daemon = up(bed)
        config_hash = server.offer({"": config()})
        server.wait_status(APPLIED, config_hash)
        names = [b"system.cpu.time", b"system.memory.usage", b"system.cpu.load_average.1m", b"system.disk.io",
                 b"system.filesystem.usage", b"system.network.io", b"system.paging.operations", b"system.processes.count",
                 b"system.uptime"]
        until(lambda: seen_in(sink, names), 20, "every kind of host metric at the exporter's backend")
        for line in bed.agent_log().splitlines():
            assert "permission denied" not in line.lower(), line
        daemon.stop(30)


def refused(user, text, words):
    if landlock_version() < 4:
        raise Skip("this kernel's Landlock knows no ports")
    with Bed(user, "interop/otelcol") as bed:
        sink = Sink(4318)
        bed.servers.append(sink)
        server, daemon = up(bed)
        good = server.offer({"": config()})
        server.wait_status(APPLIED, good)
        bad = server.offer({"": text(bed)})
        why = server.wait_status(FAILED, bad, 30).msg.remote_config_status.error_message
        assert words in why and "permission denied" in why, why
        seen = len(sink.posts)
        until(lambda: len(sink.posts) > seen, 20, "the old configuration to run again")


def listens(user):
    refused(user, lambda bed: config(grpc=4400), "4400")


def reads(user):
    def text(bed):
        bed.write("ca.pem", "nothing\n")
        return config(tls=f"    tls: {{ca_file: {bed.path('ca.pem')}}}")
    refused(user, text, "ca.pem")


def connects(user):
    if landlock_version() < 4:
        raise Skip("this kernel's Landlock knows no ports")
    with Bed(user, "interop/otelcol") as bed:
        sink, other = Sink(4318), Sink(4401)
        bed.servers += [sink, other]
        server, _daemon = up(bed)
        server.offer({"": config(sink=4401)})
        until(lambda: "4401: connect: permission denied" in bed.agent_log(), 20, "the exporter to be refused")
        assert not other.posts


TESTS = [
    ("strict: the example's lists are enough for host metrics, OTLP and an exporter", works),
    ("strict: listening on a port that is not listed is refused, and rolled back", listens),
    ("strict: reading a file that is not listed is refused, and rolled back", reads),
    ("strict: connecting to a port that is not listed is refused", connects),
]

users_made()
tap.run([(name, isolated(function, (), PORTS)) for name, function in for_all(TESTS)])
