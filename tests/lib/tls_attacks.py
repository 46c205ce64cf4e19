"""What a TLS server may do to us: certificates that must not be believed, and handshakes and records bent by hand."""
import ctypes
import os
import random
import ssl
import struct
import subprocess
import threading
import time

from peers import MIB, USUAL, Served, frame
from server_attacks import GONE, Attack

NAME = "opamp.example.com"
LIBSSL = ctypes.CDLL("libssl.so.3")  # the same that Python's ssl has
for _f in ("SSL_key_update", "SSL_renegotiate", "SSL_do_handshake", "SSL_verify_client_post_handshake"):
    getattr(LIBSSL, _f).argtypes = [ctypes.c_void_p] + ([ctypes.c_int] if _f == "SSL_key_update" else [])

CONFIG = """[ca]
default_ca=d
[d]
database={0}/index
new_certs_dir={0}
serial={0}/serial
policy=p
unique_subject=no
[p]
commonName=supplied
"""


class Pki:
    """Authorities and certificates by openssl, in a directory of their own."""

    def __init__(self, directory):
        self.dir = directory
        os.makedirs(directory, exist_ok=True)
        self.contexts = {}
        for name, text in (("conf", CONFIG.format(directory)), ("index", ""), ("serial", "1000\n")):
            with open(self.path(name), "w", encoding="ascii") as f:
                f.write(text)
        self.authority("ca")
        self.authority("other")

    def path(self, name):
        return os.path.join(self.dir, name)

    @staticmethod
    def openssl(*arguments):
        r = subprocess.run(("openssl",) + arguments, capture_output=True, text=True, check=False)
        if r.returncode != 0:
            raise AssertionError(f"openssl {' '.join(arguments)}: {r.stderr}")

    def key(self, name, kind="ec"):
        how = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind}"]
        self.openssl("genpkey", *how, "-out", self.path(name + ".key"))

    def authority(self, name):
        self.key(name)
        self.openssl("req", "-x509", "-new", "-key", self.path(name + ".key"), "-out", self.path(name + ".pem"), "-subj", f"/CN={name}", "-days", "2")

    def cert(self, name, san=None, by="ca", kind="ec", start="20240101000000Z", end="20491231000000Z", md="sha256", usage="serverAuth",
             subject=None, basic="critical,CA:false"):
        """Makes it, once; gives the path of its chain and its key."""
        if not os.path.exists(self.path(name + ".pem")):
            self.key(name, kind)
            self.openssl("req", "-new", "-key", self.path(name + ".key"), "-out", self.path(name + ".csr"), "-subj", f"/CN={subject or name}")
            with open(self.path(name + ".ext"), "w", encoding="ascii") as f:
                f.write(f"basicConstraints={basic}\nextendedKeyUsage={usage}\n" + (f"subjectAltName={san}\n" if san else ""))
            self.openssl("ca", "-batch", "-notext", "-config", self.path("conf"), "-cert", self.path(by + ".pem"), "-keyfile", self.path(by + ".key"),
                         "-in", self.path(name + ".csr"), "-out", self.path(name + ".pem"), "-startdate", start, "-enddate", end, "-md", md,
                         "-extfile", self.path(name + ".ext"))
        return self.path(name + ".pem"), self.path(name + ".key")

    def context(self, name, san=f"DNS:{NAME}", level=2, ciphers="DEFAULT", low=ssl.TLSVersion.TLSv1_2, high=ssl.TLSVersion.TLSv1_3, chain=None, **how):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.set_ciphers(f"{ciphers}:@SECLEVEL={level}")
        c.minimum_version, c.maximum_version = low, high
        if name is not None:
            pem, key = self.cert(name, san, **how)
            if chain is not None:
                pem = chain(pem)
            c.load_cert_chain(pem, key)
        return c


def shaken(context, p):
    """The handshake; p speaks TLS from here on."""
    p.sock = context.wrap_socket(p.sock, server_side=True)
    return p


def prepared(make, act):
    """act(p, context); the context is made before there is a connection (Stage.attack), whose time is short."""
    made = []

    def attack(p):
        return act(p, made.pop() if made else make(p.pki))
    attack.prepare = lambda: made.append(make(Served.pki))
    return attack


def refused(make):
    def act(p, context):
        try:
            shaken(context, p)
            p.request()
            return f"believed: {p.broke}" if p.head else f"left after the handshake: {p.broke}"
        except ssl.SSLError as e:
            return str(e.reason or e)
        except OSError as e:
            return type(e).__name__
    return prepared(make, act)


def taken(make):
    def act(p, context):
        shaken(context, p)
        p.begin()
        return p.goes_on()
    return prepared(make, act)


def good(pki):
    return pki.context("good")


def after(then, make=good):
    def act(p, context):
        shaken(context, p)
        return then(p)
    return prepared(make, act)


def cut_in_the_answer(p):
    p.request()
    p.send(b"HTTP/1.1 101 Switching Proto")
    p.sock.detach_and_cut()
    return "cut"


class Cut(ssl.SSLSocket):
    """A TLS socket that can end without close_notify."""

    def detach_and_cut(self):
        os.close(self.detach())


def cut_in_a_frame(p):
    p.begin()
    p.send(frame(2, b"x" * 50, length=100))
    p.sock.detach_and_cut()
    return "cut"


def handle(sock):
    """The SSL * of a Python SSLSocket: PyObject_HEAD, PyObject *Socket, SSL *ssl."""
    return ctypes.c_void_p.from_address(id(sock._sslobj) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)).value


def reader(p):
    def read():
        try:
            while p.sock.recv(1 << 16):
                pass
        except (OSError, ValueError):
            pass
    threading.Thread(target=read, daemon=True).start()


def key_updates(ask):
    def then(p):
        p.begin()
        p.sock.settimeout(None)
        ssl_handle, end, n = handle(p.sock), time.monotonic() + 2, 0
        p.sock.setblocking(True)
        while time.monotonic() < end:
            if LIBSSL.SSL_key_update(ssl_handle, ask) != 1 or LIBSSL.SSL_do_handshake(ssl_handle) != 1:
                return f"broke after {n}"
            n += 1
        p.sock.settimeout(30)
        return p.goes_on() if n > 1000 else f"only {n}"
    return then


def renegotiation(p):
    p.begin()
    p.sock.setblocking(True)
    ssl_handle = handle(p.sock)
    for _ in range(3):
        LIBSSL.SSL_renegotiate(ssl_handle)
        LIBSSL.SSL_do_handshake(ssl_handle)
    p.sock.settimeout(30)
    try:
        return p.goes_on()
    except ssl.SSLError as e:
        return str(e.reason)


def post_handshake(p):
    p.begin()
    return "asked" if LIBSSL.SSL_verify_client_post_handshake(handle(p.sock)) == 1 else "not offered by us"


# ---- records by hand

def record(kind, body, version=0x0303):
    return struct.pack(">BHH", kind, version, len(body)) + body


def server_hello(version=0x0303, cipher=0xc02f, compression=0, extensions=b""):
    body = struct.pack(">H", version) + b"\x55" * 32 + b"\0" + struct.pack(">HB", cipher, compression)
    body += struct.pack(">H", len(extensions)) + extensions if extensions else b""
    return record(22, b"\x02" + len(body).to_bytes(3, "big") + body)


def says(data):
    """After the ClientHello."""
    def act(p):
        p.more()
        p.data = b""
        p.send(data)
        while p.more():
            p.data = b""
        return p.broke
    return act


def endlessly(piece, most=64 * MIB):
    def act(p):
        p.more()
        sent = 0
        p.sock.settimeout(5)
        while sent < most and p.send(piece):
            sent += len(piece)
        return "not read to its end" if sent < most else f"took {sent >> 20} MiB"
    return act


class Piecewise:
    """A TLS server whose bytes go out one by one."""

    def __init__(self, p, context, gap):
        self.p, self.gap = p, gap
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.into, self.out, server_side=True)

    def flush(self):
        for byte in self.out.read():
            if not self.p.send(bytes([byte])):
                return False
            if self.gap:
                time.sleep(self.gap)
        return True

    def handshake(self):
        while True:
            try:
                self.ssl.do_handshake()
                return self.flush()
            except ssl.SSLWantReadError:
                if not self.flush():
                    return False
                if not self.p.more():
                    return False
                self.into.write(self.p.data)
                self.p.data = b""


def byte_by_byte(p):
    return "shaken" if Piecewise(p, good(p.pki), 0).handshake() else f"broke: {p.broke}"


def slowly(p):
    begin = time.monotonic()
    done = Piecewise(p, good(p.pki), 0.2).handshake()
    return "shaken" if done else "left in time" if time.monotonic() - begin < 10 else "stayed"


def drained(p):
    """A peer that closes with something unread takes its last words back."""
    while p.more():
        p.data = b""
    return p.broke


def alert_after_the_handshake(p):
    t = Piecewise(p, good(p.pki), 0)
    t.handshake()
    while True:
        try:
            t.ssl.read(1 << 16)  # its request
            break
        except ssl.SSLWantReadError:
            if not p.more():
                return p.broke
            t.into.write(p.data)
            p.data = b""
    t.into.write(record(23, b"\xff" * 64))
    try:
        while t.ssl.read(1 << 16):
            pass
    except ssl.SSLError:
        pass
    t.flush()
    return drained(p)


def client_wanted(p):
    t = Piecewise(p, wanting_a_client(V.TLSv1_3)(p.pki), 0)
    try:
        t.handshake()
    except ssl.SSLError:
        pass
    t.flush()
    return drained(p)


def garbage_after_the_handshake(p):
    Piecewise(p, good(p.pki), 0).handshake()
    p.send(record(23, random.Random(2).randbytes(4096)))
    while p.more():
        p.data = b""
    return p.broke


def long_chain(n):
    def chain(pem):
        path = pem + f".{n}"
        with open(pem, encoding="ascii") as f:
            text = f.read()
        with open(os.path.join(os.path.dirname(pem), "other.pem"), encoding="ascii") as f:
            text += f.read() * n
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path
    return chain


def wanting_a_client(high):
    def make(pki):
        c = pki.context("good", high=high)
        c.load_verify_locations(pki.path("ca.pem"))
        c.verify_mode = ssl.CERT_REQUIRED
        return c
    return make


V = ssl.TLSVersion
ALERT = ".*(ALERT|CERTIFICATE|EOF|alert|end|reset|Reset|BrokenPipe).*"
UNKNOWN = "unknown authority"


def certificate(name, why, quick=False, **how):
    return Attack(f"a certificate: {name}", refused(lambda pki: pki.context(name.replace(" ", "-").replace("/", "").replace("*", "star"), **how)), ALERT, why, quick=quick)


CERTIFICATES = [
    certificate("expired", "has expired", True, start="20200101000000Z", end="20210101000000Z"),
    certificate("not yet valid", "not valid yet", start="20480101000000Z", end="20491231000000Z"),
    certificate("for another host", f"is not for {NAME}", True, san="DNS:other.example.com"),
    certificate("the address as a name", f"is not for {NAME}", san="DNS:127.0.0.1"),
    certificate("for an address only", f"is not for {NAME}", san="IP:127.0.0.1"),
    certificate("wildcard too high", f"is not for {NAME}", san="DNS:*.com"),
    certificate("wildcard of all", f"is not for {NAME}", san="DNS:*"),
    certificate("wildcard within a label", f"is not for {NAME}", san="DNS:op*.example.com"),
    certificate("wildcard one label too deep", f"is not for {NAME}", san="DNS:*.opamp.example.com"),
    certificate("two wildcards", f"is not for {NAME}", san="DNS:*.*.com"),
    certificate("a name in the subject only", f"is not for {NAME}", san=None, subject=NAME),
    certificate("of an unknown CA", UNKNOWN, True, by="other"),
    Attack("a certificate: self-signed", refused(lambda pki: selfsigned(pki)), ALERT, UNKNOWN, quick=True),
    certificate("for clients only", "(?i)purpose", usage="clientAuth"),
    certificate("of a leaf that is no CA", "(?i)invalid CA|unknown authority", by="good"),
    certificate("RSA of 1024 bits", "(?i)key too (weak|small)", True, kind="1024", level=0),
    certificate("signed with SHA-1", "(?i)(md|digest|signature).*(weak|small|algorithm)|too weak", md="sha1", level=0),
    Attack("a certificate: one wildcard label, as it may be", taken(lambda pki: pki.context("wild", san="DNS:*.example.com")), "goes on.*"),
]


def selfsigned(pki):
    if not os.path.exists(pki.path("self.pem")):
        pki.key("self")
        pki.openssl("req", "-x509", "-new", "-key", pki.path("self.key"), "-out", pki.path("self.pem"), "-subj", f"/CN={NAME}",
                    "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2")
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(pki.path("self.pem"), pki.path("self.key"))
    return c


HANDSHAKES = [
    Attack("TLS 1.0 only", refused(lambda pki: pki.context("good", level=0, low=V.TLSv1, high=V.TLSv1)), ".*(UNSUPPORTED_PROTOCOL|VERSION).*", "min_version", quick=True),
    Attack("TLS 1.1 only", refused(lambda pki: pki.context("good", level=0, low=V.TLSv1_1, high=V.TLSv1_1)), ".*(UNSUPPORTED_PROTOCOL|VERSION).*", "min_version"),
    Attack("TLS 1.1 in a ServerHello by hand", says(server_hello(0x0302)), GONE, "min_version"),
    Attack("SSL 3.0 in a ServerHello by hand", says(server_hello(0x0300)), GONE, "min_version|version"),
    Attack("ciphers without encryption only", refused(lambda pki: pki.context("good", level=0, ciphers="eNULL:aNULL", high=V.TLSv1_2)), ".*(NO_SHARED_CIPHER|ALERT).*", "(?i)cipher"),
    Attack("anonymous ciphers only", refused(lambda pki: pki.context(None, level=0, ciphers="aNULL:!eNULL", high=V.TLSv1_2)), ".*(NO_SHARED_CIPHER|ALERT).*", "(?i)cipher", quick=True),
    Attack("3DES chosen by hand", says(server_hello(cipher=0x000a)), GONE, "(?i)cipher", quick=True),
    Attack("RC4 chosen by hand", says(server_hello(cipher=0x0005)), GONE, "(?i)cipher"),
    Attack("NULL chosen by hand", says(server_hello(cipher=0x0002)), GONE, "(?i)cipher"),
    Attack("compression chosen by hand", says(server_hello(compression=1)), GONE, "(?i)compression"),
    Attack("ALPN that nobody offered", says(server_hello(extensions=b"\x00\x10\x00\x05\x00\x03\x02h2")), GONE, "(?i)extension"),
    Attack("a server with other protocols (ALPN)", taken(lambda pki: alpn(pki)), "goes on.*"),
    Attack("garbage for a ServerHello", says(random.Random(9).randbytes(4096)), GONE, "TLS"),
    Attack("HTTP for a ServerHello", says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), GONE, "does not speak TLS", quick=True),
    Attack("a handshake message of 16 MiB", says(record(22, b"\x02\xff\xff\xff" + b"x" * 1000)), GONE, "(?i)excessive|length|message"),
    Attack("handshake messages of no length without end", endlessly(record(22, b"\0\0\0\0" * 4000)), "not read to its end", "TLS"),
    Attack("empty records without end", endlessly(record(22, b"") * 3000), "not read to its end", "TLS"),
    Attack("warnings without end", endlessly(record(21, b"\1\x5a") * 3000), "not read to its end", "TLS"),
    Attack("a fatal alert at once", says(record(21, b"\2\x28")), GONE, "(?i)alert"),
    Attack("a chain of 400 certificates", refused(lambda pki: pki.context("good", chain=long_chain(400))), ALERT, "(?i)excessive|too (long|large)", quick=True),
    Attack("a chain of 200 certificates in its size", refused(lambda pki: pki.context("good", chain=long_chain(150))), ".*", None),
    Attack("the handshake byte by byte", byte_by_byte, "shaken", None),
    Attack("the handshake byte by byte, slowly", slowly, "left in time", "no answer to our greeting in time", quick=True),
    Attack("never a byte of TLS", says(b""), GONE, "no answer to our greeting in time"),
    Attack("a client certificate wanted, TLS 1.3", client_wanted, GONE, "(?i)client certificate"),
    Attack("a client certificate wanted, TLS 1.2", refused(wanting_a_client(V.TLSv1_2)), ".*", "(?i)client certificate"),
]


def alpn(pki):
    c = pki.context("good")
    c.set_alpn_protocols(["h2", "smtp"])
    return c


def cutting(pki, high=V.TLSv1_3):
    c = pki.context("good", high=high)
    c.sslsocket_class = Cut
    return c


RECORDS = [
    Attack("cut without close_notify in the answer to the upgrade", after(cut_in_the_answer, cutting), "cut", "cut without a goodbye", quick=True),
    Attack("cut without close_notify in a frame", after(cut_in_a_frame, cutting), "cut", "cut without a goodbye"),
    Attack("the same under TLS 1.2", after(cut_in_a_frame, lambda pki: cutting(pki, V.TLSv1_2)), "cut", "cut without a goodbye"),
    Attack("renegotiation (TLS 1.2)", after(renegotiation, lambda pki: pki.context("good", high=V.TLSv1_2)), "goes on.*|.*RENEGOTIATION.*|broke.*|closed.*", None, quick=True),
    # it gets no answer to its reports meanwhile, and may leave for that
    Attack("KeyUpdate without end", after(key_updates(0)), "(goes on|broke).*", None),
    Attack("KeyUpdate that asks for one, without end", after(key_updates(1)), "(goes on|broke).*", None, quick=True),
    Attack("a client certificate wanted after the handshake", after(post_handshake), "not offered by us", None),
    Attack("an alert after the handshake", alert_after_the_handshake, GONE, "(?i)alert"),
    Attack("garbage after the handshake", garbage_after_the_handshake, GONE, "TLS: .*(mac|decrypt)"),
]

GROUPS_OF_TLS = [("certificates", CERTIFICATES), ("handshakes", HANDSHAKES), ("records", RECORDS)]
assert USUAL


def tls_stage(user, name, tls):
    """A daemon that trusts one authority, for a server of one name."""
    from peer_stage import Stage  # pylint: disable=import-outside-toplevel
    from peers import Served  # pylint: disable=import-outside-toplevel

    def over(bed):
        Served.pki = Pki(bed.path("pki"))
        with open(bed.path("pki", "ca.pem"), encoding="ascii") as f:
            bed.write("pki/trusted.pem", f.read())
        return {"server": {"tls": {"ca_file": bed.path("pki", "trusted.pem"), "server_name_override": NAME, **tls}}}

    def wrap(bed):
        context = Pki.context(Served.pki, "good")
        assert bed.path("pki") == Served.pki.dir
        return lambda sock: context.wrap_socket(sock, server_side=True)
    return Stage(user, name, over, wrap)
