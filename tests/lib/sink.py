"""A small HTTP server: takes what an OTLP exporter posts, plays a health endpoint, answers as told."""
import http.server
import threading


class Sink:
    def __init__(self, port=0):
        self.posts = []  # (path, headers, body)
        self.gets = 0
        self.status = 200
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.send_response(sink.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sink.posts.append((self.path, self.headers, body))
                self.answer()

            def do_GET(self):
                sink.gets += 1
                self.answer()

            def log_message(self, *_):
                pass
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def end(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    def tell(self, _since=0):
        return f"{len(self.posts)} posts, {self.gets} gets"
