#!/usr/bin/python3
"""Not Pi-hole: a strict stand-in for the API of version 6, for tests: sessions and the lists `dns.hosts` and `dns.cnameRecords`.
It answers as github.com/pi-hole/FTL has it (src/api/auth.c, src/api/config.c, src/api/docs/content/specs), and refuses whatever
else it is asked. Its settings and what it keeps are in /run/fake-pihole.json, read at each request:
`password` (null: it asks for none), `sessions` (how many it has), `validity` (seconds), `environment` (lists that FTLCONF_ sets),
`app` (its password is an application's that may change nothing), `uses` (how many requests a session is good for before it has run
out; null: for its validity), `crowd` (until when others use up the passwords of each second), `hosts`, `cnameRecords`, `open`
(sessions now), `used` (requests of each), `logins`, `limited` (logins that were refused for others), `log`."""
import ipaddress, json, os, re, secrets, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

PORT, STATE = int(sys.argv[1]), '/run/fake-pihole.json'
NAME = re.compile(r'^(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$', re.I)
lock, tried, away = threading.Lock(), [0, 0], [0.0]

def invalid(list_, item):
    if list_ == 'hosts':
        words = item.split('#')[0].split()
        try:
            ipaddress.ip_address(words[0])
        except Exception:
            return f'{item}: neither a valid IPv4 nor IPv6 address'
        if len(words) < 2 or not all(NAME.match(name) for name in words[1:]):
            return f'{item}: invalid hostname'
    else:
        parts = item.split(',')
        if len(parts) < 2 or not all(NAME.match(name) for name in parts[:2]):
            return f'{item}: not a valid CNAME definition (too few elements)'

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def answer(self, status, body=None):
        text = b'' if body is None else json.dumps({**body, 'took': 0.001}).encode()
        self.send_response(status); self.send_header('Content-Type', 'application/json'); self.send_header('Content-Length', str(len(text)))
        self.end_headers(); self.wfile.write(text)
    def error(self, status, key, message, hint=None):
        self.answer(status, {'error': {'key': key, 'message': message, 'hint': hint}})
    def session(self, state):
        sid, now = self.headers.get('X-FTL-SID'), time.time()
        state['open'] = {sid: until for sid, until in state['open'].items() if until > now}
        if sid in state['open']:
            state['used'][sid] = state['used'].get(sid, 0) + 1
            if state['uses'] is not None and state['used'][sid] > state['uses'] and self.path != '/api/auth':
                del state['open'][sid]
                return None
            state['open'][sid] = now + state['validity']
            return sid
    def said(self, valid, sid=None, validity=-1, message=None):
        return {'session': {'valid': valid, 'totp': False, 'sid': sid, 'csrf': None, 'validity': validity, 'message': message}}
    def auth(self, state, body):
        if self.command == 'POST':
            state['logins'] += 1
            try:
                password = json.loads(body)['password']
            except Exception:
                return self.error(400, 'bad_request', 'No password found in JSON payload')
            now = time.time()
            # Within one second of the clock, whoever tries them; it takes a quarter of one to say so.
            tried[:] = [int(now), tried[1] + 1 if tried[0] == int(now) else 1]
            if tried[1] > 3 or now < state['crowd']:
                state['limited'] += 1
                time.sleep(0.25)
                return self.error(429, 'rate_limiting', 'Rate-limiting login attempts')
            if state['password'] is not None and password != state['password']:
                return self.answer(401, self.said(False, message='password incorrect'))
            self.session(state)
            if len(state['open']) >= state['sessions']:
                return self.error(429, 'api_seats_exceeded', 'API seats exceeded', 'increase webserver.api.max_sessions')
            sid = secrets.token_urlsafe(16)
            state['open'][sid] = now + state['validity']
            return self.answer(200, self.said(True, sid, state['validity'], 'password correct'))
        if self.command == 'GET':
            if state['password'] is None:
                return self.answer(200, self.said(True, message='no password set'))
            sid = self.session(state)
            return self.answer(200, self.said(True, sid, state['validity'])) if sid else self.answer(401, self.said(False))
        if self.command == 'DELETE':
            sid = self.session(state)
            if not sid:
                return self.answer(401, self.said(False))
            del state['open'][sid]
            return self.answer(204)
        self.error(405, 'method_not_allowed', 'Method not allowed')
    def config(self, state, parts):
        if state['password'] is not None and not self.session(state):
            return self.error(401, 'unauthorized', 'Unauthorized')
        if self.command == 'GET':
            if len(parts) != 1 or parts[0] not in ('hosts', 'cnameRecords'):
                return self.error(404, 'not_found', 'Not found')
            return self.answer(200, {'config': {'dns': {parts[0]: state[parts[0]]}}})
        if state['app']:
            return self.error(403, 'forbidden', 'Unable to change configuration (read-only)', 'The current app session is not allowed to modify Pi-hole config settings (webserver.api.app_sudo is false)')
        if len(parts) != 2 or parts[0] not in ('hosts', 'cnameRecords'):
            return self.error(400, 'bad_request', 'Invalid path depth', 'Use, e.g., PUT /api/config/dns/upstreams/127.0.0.1 to add "127.0.0.1" to config.dns.upstreams')
        list_, item = parts[0], unquote(parts[1])
        if list_ in state['environment']:
            return self.error(400, 'bad_request', 'Config items set via environment variables cannot be changed via the API', f'dns.{list_}')
        state['log'].append(f'{self.command} {list_} {item}')
        if self.command == 'PUT':
            if item in state[list_]:
                return self.error(400, 'bad_request', 'Item already present', 'Uniqueness of items is enforced')
            wrong = invalid(list_, item)
            if wrong:
                return self.error(400, 'bad_request', 'Invalid value', wrong)
            state[list_].append(item)
            self.answer(201, {})
        elif self.command == 'DELETE':
            if item not in state[list_]:
                return self.answer(404, {})
            state[list_].remove(item)
            self.answer(204)
        else:
            return self.error(405, 'method_not_allowed', 'Method not allowed')
        if list_ == 'cnameRecords':
            # dnsmasq takes aliases at its start only, and FTL is dnsmasq.
            away[0] = time.time() + 1
    def handle_any(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        with lock:
            if time.time() < away[0]:
                self.close_connection = True
                return
            state = json.load(open(STATE))
            path = self.path.split('?')[0]
            if path == '/api/auth':
                self.auth(state, body)
            elif path.startswith('/api/config/dns/'):
                self.config(state, path[len('/api/config/dns/'):].split('/'))
            else:
                self.error(404, 'not_found', 'Not found', path)
            json.dump(state, open(STATE + '.new', 'w')); os.replace(STATE + '.new', STATE)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

base = {'password': None, 'sessions': 2, 'validity': 1800, 'environment': [], 'app': False, 'uses': None, 'crowd': 0, 'used': {}, 'limited': 0, 'hosts': [], 'cnameRecords': [], 'open': {}, 'logins': 0, 'log': []}
given = json.load(open(STATE)) if os.path.exists(STATE) else {}
json.dump({**base, **given}, open(STATE, 'w'))
ThreadingHTTPServer(('127.0.0.1', PORT), Handler).serve_forever()
