#!/usr/bin/python3
"""Not Tailscale: a strict stand-in for its command line, for tests. It knows `status`, `up` and `logout` as
https://tailscale.com/kb/1080/cli and `ipnstate.Status` have them, takes exactly one key, and refuses whatever else it is told."""
import argparse, hashlib, json, os, re, stat, subprocess, sys

STATE = '/run/fake-tailscale.json'
# A tag whose policy lets nobody in by SSH: new connections are dropped while the node has it.
CUTS = '/etc/fake-tailscale-cuts'
state = json.load(open(STATE)) if os.path.exists(STATE) else {'BackendState': 'NeedsLogin', 'Tags': None, 'ups': 0}
ap = argparse.ArgumentParser(allow_abbrev=False)
verbs = ap.add_subparsers(dest='verb', required=True)
status = verbs.add_parser('status', allow_abbrev=False)
status.add_argument('--json', action='store_true', required=True); status.add_argument('--peers', choices=['true', 'false'], default='true')
up = verbs.add_parser('up', allow_abbrev=False)
up.add_argument('--auth-key', default=''); up.add_argument('--advertise-tags', default=None); up.add_argument('--timeout', default='0s'); up.add_argument('--force-reauth', action='store_true'); up.add_argument('--login-server', default='')
verbs.add_parser('logout', allow_abbrev=False)
A = ap.parse_args()

def fail(why):
    print(why, file=sys.stderr); sys.exit(1)
def save():
    json.dump(state, open(STATE, 'w'))
    cuts = os.path.exists(CUTS) and open(CUTS).read().strip() in (state['Tags'] or [])
    rules = 'add table inet tailnet\ndelete table inet tailnet\n'
    if cuts: rules += 'table inet tailnet { chain input { type filter hook input priority 0; tcp dport 22 ct state new drop; }; }\n'
    if cuts or os.path.exists(CUTS): subprocess.run(['nft', '-f', '-'], input=rules, text=True, check=True)

if A.verb == 'status':
    tags = state['Tags']
    print(json.dumps({'Version': '1.76.0-fake', 'BackendState': state['BackendState'], 'Self': {'HostName': os.uname().nodename, **({'Tags': tags} if tags else {})}}))
    sys.exit(0 if state['BackendState'] == 'Running' else 1)
if A.verb == 'logout':
    state.update(BackendState='NeedsLogin', Tags=None); save(); sys.exit(0)
if not re.fullmatch(r'\d+s', A.timeout) or A.timeout == '0s': fail('it would wait for ever')
tags = A.advertise_tags.split(',') if A.advertise_tags else []
for tag in tags:
    if not re.fullmatch(r'tag:[a-zA-Z][a-zA-Z0-9-]*', tag): fail(f'tag: "{tag}": tags must start with \'tag:\' and a letter')
if not A.auth_key:
    if state['BackendState'] == 'NeedsLogin': fail('To authenticate, visit: https://login.tailscale.com/a/0123456789abcdef')
    if A.advertise_tags is not None: fail("Error: changing settings via 'tailscale up' requires mentioning all non-default flags")
    state['BackendState'] = 'Running'; state['ups'] += 1; save(); sys.exit(0)
if not A.auth_key.startswith('file:'): fail('the key stood in an argument, where everybody sees it')
path = A.auth_key[len('file:'):]
mode = stat.S_IMODE(os.stat(path).st_mode)
if path == '/dev/stdin':
    if not os.readlink('/proc/self/fd/0').startswith('/memfd:'): fail('the key comes from somewhere else than memory')
elif mode != 0o400: fail(f'the file of the key is open to others: {mode:o}')
key = open(path).read().strip()
if hashlib.sha256(key.encode()).hexdigest() != open('/etc/fake-tailscale').read().strip(): fail('backend error: invalid key: API key does not exist')
if state['BackendState'] != 'NeedsLogin' and A.login_server != state.get('server', ''): fail("Error: changing settings via 'tailscale up' requires mentioning all non-default flags")
if state['BackendState'] != 'NeedsLogin' and not A.force_reauth: fail('it is logged in already')
state.update(BackendState='Running', Tags=tags, server=A.login_server); state['ups'] += 1; save()
