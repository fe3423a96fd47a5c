"""hasher: the SHA-256 of what is posted, in hexadecimal."""

import hashlib
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 8 * 1024 * 1024


class Hasher(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection

    def setup(self):
        super().setup()
        self.connection.settimeout(300)

    def do_GET(self):
        self.answer(200, "POST bytes here for their SHA-256\n")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self.close_connection = True
            return self.answer(411, "Content-Length is needed\n")
        if int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, "too large\n")
        self.answer(200, hashlib.sha256(self.rfile.read(int(length))).hexdigest())

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = Server(("0.0.0.0", int(os.environ.get("PORT", "80"))), Hasher)
print("hasher: listening (python)", flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
