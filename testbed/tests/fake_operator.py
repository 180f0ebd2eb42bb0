#!/usr/bin/env python3
"""Listens where the operator would, and ends with status 7 on SIGTERM."""

import http.server
import os
import signal
import sys
import threading

print("args:", *sys.argv[1:], flush=True)
if "--fail" in sys.argv:
    sys.exit("refused to start")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ.get('GREETING', '')} from {self.path}".encode())


def serve(flag):
    host, port = sys.argv[sys.argv.index(flag) + 1].split(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
serve("--metrics-bind")
serve("--health-bind")
while True:
    signal.pause()
