"""What a TLS client may do to the hub's port for agents, where client certificates are wanted (the authority "ca")."""
import atexit
import os
import random
import shutil
import ssl
import struct
import tempfile
import time

from hub_stage import HubStage
from server_attacks import Attack
from tls_attacks import LIBSSL, Pki, handle, record

V = ssl.TLSVersion
GONE = "end|reset|.*(ALERT|EOF|VERSION|PROTOCOL|CIPHER|alert|Reset|Pipe).*"


def client(pki, name="agent", level=2, ciphers="DEFAULT", low=V.TLSv1_2, high=V.TLSv1_3, **how):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.set_ciphers(f"{ciphers}:@SECLEVEL={level}")
    c.minimum_version, c.maximum_version = low, high
    c.load_verify_locations(pki.path("ca.pem"))
    c.check_hostname = False
    if name is not None:
        c.load_cert_chain(*pki.cert(name, usage=how.pop("usage", "clientAuth"), **how))
    return c


def refused(**how):
    """Neither a handshake nor an answer: with TLS 1.3 a client learns of it when it reads."""
    def act(c):
        try:
            c.sock = client(c.stage.pki, **how).wrap_socket(c.sock)
            return str(c.upgrade() or c.broke or "end")
        except ssl.SSLError as e:
            return str(e.reason or e)
        except OSError as e:
            return type(e).__name__
    return act


def shaken(then, **how):
    def act(c):
        c.sock = client(c.stage.pki, **how).wrap_socket(c.sock)
        assert c.upgrade() == 101
        return then(c)
    return act


def cut(c):
    os.close(c.sock.detach())
    return "cut"


def key_updates(ask):
    def then(c):
        ssl_handle, end, n = handle(c.sock), time.monotonic() + 2, 0
        c.sock.setblocking(True)
        while time.monotonic() < end:
            if LIBSSL.SSL_key_update(ssl_handle, ask) != 1 or LIBSSL.SSL_do_handshake(ssl_handle) != 1:
                return f"broke after {n}"
            n += 1
        return "taken"
    return then


def renegotiation(c):
    ssl_handle = handle(c.sock)
    for _ in range(3):
        LIBSSL.SSL_renegotiate(ssl_handle)
        LIBSSL.SSL_do_handshake(ssl_handle)
    c.sock.settimeout(15)
    return c.goes_on()


def says(data):
    def act(c):
        c.put(data)
        while c.more():
            c.data = b""
        return c.broke or "end"
    return act


def handshakes(c):
    """A handshake after the other, none finished, for two seconds."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        d = c.another()
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = client(c.stage.pki).wrap_bio(into, out)
        try:
            t.do_handshake()
        except ssl.SSLWantReadError:
            pass
        d.put(out.read())
        d.close()
    return "done"


TLS = [
    Attack("no client certificate", refused(name=None), GONE, quick=True),
    Attack("a client certificate that has expired", refused(name="old", start="20200101000000Z", end="20210101000000Z"), GONE, quick=True),
    Attack("a client certificate that is not valid yet", refused(name="young", start="20480101000000Z", end="20491231000000Z"), GONE),
    Attack("a client certificate of another authority", refused(name="other-agent", by="other"), GONE, quick=True),
    Attack("a client certificate for servers only", refused(name="server-agent", usage="serverAuth"), GONE),
    Attack("TLS 1.0", refused(level=0, low=V.TLSv1, high=V.TLSv1), GONE, quick=True),
    Attack("TLS 1.1", refused(level=0, low=V.TLSv1_1, high=V.TLSv1_1), GONE),
    Attack("ciphers without encryption", refused(level=0, ciphers="eNULL:aNULL", high=V.TLSv1_2), GONE, quick=True),
    Attack("cut without close_notify", shaken(cut), "cut", quick=True),
    Attack("renegotiation (TLS 1.2)", shaken(renegotiation, high=V.TLSv1_2), "goes on.*|closed|.*RENEGOTIATION.*|SSLError.*", quick=True),
    Attack("KeyUpdate without end", shaken(key_updates(0)), "broke.*"),
    Attack("KeyUpdate that asks for one, without end", shaken(key_updates(1)), "broke.*", quick=True),
    Attack("handshakes without end", handshakes, "done", quick=True),
    Attack("HTTP for a ClientHello", says(b"GET /v1/opamp HTTP/1.1\r\n\r\n"), GONE, quick=True),
    Attack("garbage for a ClientHello", says(random.Random(3).randbytes(4096)), GONE),
    Attack("a handshake message of 16 MiB", says(record(22, b"\x01\xff\xff\xff" + b"x" * 1000)), GONE),
    Attack("SSL 3.0", says(record(22, b"\x01\x00\x00\x2b\x03\x00" + b"r" * 32 + b"\0" + struct.pack(">H", 2) + b"\0\x05\1\0", 0x0300)), GONE),
]
GROUPS_OF_HUB_TLS = [("TLS", TLS)]


def tls_stage(name="tls"):
    directory = tempfile.mkdtemp(prefix="opampd-pki-", dir="/opt" if os.geteuid() == 0 else None)
    atexit.register(shutil.rmtree, directory, True)

    def options():
        stage.pki = Pki(os.path.join(directory, "pki"))
        cert, key = stage.pki.cert("hub", "DNS:localhost")
        stage.tls = client(stage.pki)
        return ["--agents-tls-cert", cert, "--agents-tls-key", key, "--agents-client-ca", stage.pki.path("ca.pem")]
    os.chmod(directory, 0o755)
    stage = HubStage(name, options)
    return stage

