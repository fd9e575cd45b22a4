"""A farm for tests of gateways: it speaks `sync` on a Unix socket, loses answers, changes its term and goes away."""

import http.server
import socketserver
import threading
from collections import deque
from pathlib import Path

from executors.site.protocol import Answer, Message, decode_report, encode_answer

TOKEN = "a-token"
PATIENCE_S = 30


class Farm:
    """The other side: a service on a Unix socket that numbers messages and keeps events, as the real one does."""

    def __init__(self, path):
        self.path = str(path)
        self.changed = threading.Condition()
        self.term, self.settled, self.lose_answers, self.refuse = 1, set(), 0, False
        self.messages, self.events, self.acknowledged = [], [], {}
        self.snapshots, self.reports = [], deque(maxlen=200)
        self.server = None

    def open(self):
        farm = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Authorization"] != f"Bearer {TOKEN}" or self.path != "/v1/sites/local/sync":
                    self.send_error(401)
                    return
                farm.answer(self, decode_report(body))

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass

        Path(self.path).unlink(missing_ok=True)
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, report):
        with self.changed:
            self.reports.append(report)
            answer = self._heard(report)
            lost = self.lose_answers > 0
            self.lose_answers -= lost
            self.changed.notify_all()
        if lost or self.refuse:
            request.close_connection = True
            return
        body = encode_answer(answer)
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _heard(self, report):
        key = (self.term, report.session)
        if report.snapshot is not None and report.term == self.term:
            self.snapshots.append(report.snapshot)
            self.settled.add(key)
        if key not in self.settled:
            return Answer(self.term, settle=True)
        for who, events in report.events.items():
            for event in events:
                if event.seq == self.acknowledged.get(who, 0) + 1:
                    self.acknowledged[who] = event.seq
                    self.events.append(event)
        if report.wait_s:
            self.changed.wait_for(lambda: self._beyond(report) or self.term != key[0] or self.refuse, report.wait_s)
        return Answer(self.term, acknowledged=dict(self.acknowledged), messages=self._beyond(report), lease_s=7)

    def _beyond(self, report):
        return tuple(m for m in self.messages if m.n > report.received) if report.term == self.term else ()

    def say(self, kind, **fields):
        with self.changed:
            self.messages.append(Message(len(self.messages) + 1, kind, **fields))
            self.changed.notify_all()

    def new_term(self):
        with self.changed:
            self.term, self.messages = self.term + 1, []
            self.changed.notify_all()

    def new_session(self):
        """Another gateway comes: messages to the old one are not for it."""
        with self.changed:
            self.messages = []
            self.reports.clear()

    def until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE_S)
