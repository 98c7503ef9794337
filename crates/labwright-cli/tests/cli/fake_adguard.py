#!/usr/bin/python3
"""Not AdGuard Home: a strict stand-in for its API of DNS rewrites, for tests. It answers as the handlers of
github.com/AdguardTeam/AdGuardHome (internal/filtering/rewritehttp.go, internal/home) and openapi/openapi.yaml have it, and refuses
whatever else it is asked. Arguments: port, user, password. What it keeps is in /run/fake-adguard.json, with a log of requests."""
import base64, json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, USER, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]
STATE = '/run/fake-adguard.json'
ROUTES = {'/control/rewrite/list': 'GET', '/control/rewrite/add': 'POST', '/control/rewrite/delete': 'POST', '/control/rewrite/update': 'PUT'}
lock, failures = threading.Lock(), [0]
state = {'rewrites': [], 'log': []}
if os.path.exists(STATE):
    state = json.load(open(STATE))

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def answer(self, status, body, kind='text/plain; charset=utf-8'):
        body = body.encode()
        self.send_response(status); self.send_header('Content-Type', kind); self.send_header('Content-Length', str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def refused(self):
        if failures[0] >= 5:
            return 429, 'auth: blocked for 15m0s'
        expect = 'Basic ' + base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        if self.headers.get('Authorization') != expect:
            failures[0] += 1
            return 401, 'Unauthorized'
        failures[0] = 0
    def handle_any(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with lock:
            global state
            state = json.load(open(STATE)) if os.path.exists(STATE) else state
            refused = self.refused()
            if refused:
                return self.answer(*refused)
            if self.path not in ROUTES:
                return self.answer(404, '404 page not found')
            if self.command != ROUTES[self.path]:
                return self.answer(405, f'only method {ROUTES[self.path]} is allowed')
            state['log'].append(f'{self.command} {self.path} {body.decode()}')
            if self.command == 'GET':
                return self.answer(200, json.dumps(state['rewrites']), 'application/json')
            if self.headers.get('Content-Type') != 'application/json':
                return self.answer(415, 'only content-type application/json is allowed')
            try:
                said = json.loads(body)
                entry = lambda of: {'domain': of['domain'].lower(), 'answer': of['answer'], 'enabled': of.get('enabled', True)}
                same = lambda of: lambda other: (other['domain'], other['answer']) == (of['domain'], of['answer'])
                if self.path.endswith('add'):
                    state['rewrites'].append(entry(said))
                elif self.path.endswith('delete'):
                    state['rewrites'] = [other for other in state['rewrites'] if not same(said)(other)]
                else:
                    there = [number for number, other in enumerate(state['rewrites']) if same(said['target'])(other)]
                    if not there:
                        return self.answer(400, 'target rule not found')
                    state['rewrites'][there[0]] = entry(said['update'])
            except Exception as error:
                return self.answer(400, f'json.Decode: {error}')
            json.dump(state, open(STATE, 'w'))
            self.answer(200, '')
    do_GET = do_POST = do_PUT = do_DELETE = handle_any

json.dump(state, open(STATE, 'w'))
ThreadingHTTPServer(('127.0.0.1', PORT), Handler).serve_forever()
