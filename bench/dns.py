#!/usr/bin/env python3
"""D. DNS: the resolver beside unbound and dnsmasq in one run, with 1,000,000 blocked names and 200 local records.

  dns.py [--runs 3] [--secs 10] [--domains 1000000] [--tools echo,dnsmasq,unbound,labwright] [--resolver PATH] [--work DIR]

Mix (dnsperf): 40 % local names, 30 % blocked names (half of them below a listed one), 30 % names remembered from an upstream
(a second dnsmasq, 1000 names). Server on cpu 0, dnsperf and the upstream on cpu 1. `us/q` is user and system time of the
server for each query that was answered: the figure to trust on a machine that does other things too. `echo` sends each
datagram back and is the floor. `half` is the 99th percentile of latency at half of the most that the server managed.
"first" is the time to the first answer for a local name, "lists" to the first blocked one, "MiB" what the process holds
more than without lists for labwright, and all of it for the others; "warm" is a second start with the same folder.

The resolver: cargo build --release -p labwright-daemons --example resolver. Needs unbound, dnsmasq, dnsperf, gcc, taskset.
"""
import argparse, json, os, random, re, signal, socket, statistics as st, struct, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--runs', type=int, default=3); ap.add_argument('--secs', type=int, default=10); ap.add_argument('--domains', type=int, default=1_000_000)
ap.add_argument('--tools', default='echo,dnsmasq,unbound,labwright'); ap.add_argument('--work')
ap.add_argument('--resolver', default=HERE + '/../target/release/examples/resolver')
A = ap.parse_args()
W = A.work or tempfile.mkdtemp(prefix='labwright-dns-'); os.makedirs(W, exist_ok=True)
P = lambda name: os.path.join(W, name)
PORT, UP = 5302, 5301
r = random.Random(7)
WORDS = 'ad track pixel stat beacon tag bid sync click log metric banner sponsor promo affil count'.split()
TOPS = 'com net org io info xyz top de cn ru'.split()

def domain(i):
    h = (i * 2654435761) & 0xffffffff
    left = f'{WORDS[h & 15]}{h >> 4:x}' if i % 3 else f'{WORDS[h & 15]}-{i:x}.{WORDS[(h >> 4) & 15]}{h % 5000}'
    return f'{left}.{TOPS[(h >> 12) % 10]}'

D = [domain(i) for i in range(A.domains)]
LOCAL = [(f'svc{i}.lab.home.arpa', f'10.{i // 100}.20.{10 + i % 100}') for i in range(200)]

def put(name, lines):
    with open(P(name), 'w') as f: f.writelines(lines)

put('block.txt', (d + '\n' for d in D))
put('hosts', (f'{ip} {n}\n' for n, ip in LOCAL))
BASE = 'no-resolv\nno-hosts\nlisten-address=127.0.0.1\nbind-interfaces\nuser=root\npid-file=\n'
put('up.conf', [BASE, f'port={UP}\nlocal-ttl=3600\naddress=/n.corp1/192.0.2.3\n'])
put('dnsmasq.conf', [BASE, f'port={PORT}\ncache-size=10000\nlocal-ttl=60\naddn-hosts={P("hosts")}\nserver=127.0.0.1#{UP}\nconf-file={P("dnsmasq-block.conf")}\n'])
put('dnsmasq-block.conf', (f'local=/{d}/\n' for d in D))
put('unbound.conf', [f'server:\n directory: "{W}"\n chroot: ""\n username: ""\n pidfile: ""\n use-syslog: no\n interface: 127.0.0.1\n port: {PORT}\n num-threads: 1\n'
    ' do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n msg-cache-size: 64m\n rrset-cache-size: 128m\n so-rcvbuf: 0\n module-config: "iterator"\n']
    + [f' local-data: "{n}. 60 IN A {ip}"\n' for n, ip in LOCAL] + [f' include: "{P("unbound-block.conf")}"\nforward-zone:\n name: "."\n forward-addr: 127.0.0.1@{UP}\nremote-control:\n control-enable: no\n'])
put('unbound-block.conf', (f' local-zone: "{d}." always_nxdomain\n' for d in D))

def snapshot(lists):
    up = {'transport': 'udp', 'host': '127.0.0.1', 'port': UP, 'tls_name': '127.0.0.1', 'path': ''}
    return {'servers': ['d.lab.home.arpa'], 'zones': ['lab.home.arpa'], 'negative_ttl': 60,
            'records': sorted(({'name': n, 'ttl': 60, 'data': {'address': ip}} for n, ip in LOCAL), key=lambda x: x['name']), 'clients': [],
            'forward': {'upstreams': [up]}, 'filter': {'lists': [{'name': 'block', 'source': {'file': P('block.txt')}, 'allow': False}] if lists else [],
            'groups': [{'name': 'everyone', 'clients': [], 'lists': [0] if lists else []}], 'blocked': 'nxdomain', 'refresh': 86400, 'canary': True},
            'access': {'rate_limit': 0}, 'log': {'keep_days': 7, 'clients': True}}

for name, lists in (('snapshot.json', True), ('empty.json', False)):
    with open(P(name), 'w') as f: json.dump(snapshot(lists), f)
put('q.local', (f'{r.choice(LOCAL)[0]} A\n' for _ in range(50000)))
put('q.blocked', (f'{"www." if i & 1 else ""}{r.choice(D)} A\n' for i in range(50000)))
put('q.cached', (f'n{r.randrange(1000)}.n.corp1 A\n' for _ in range(50000)))
lines = {k: open(P('q.' + k)).read().splitlines(True) for k in ('local', 'blocked', 'cached')}
put('q.mix', (r.choice(lines[r.choices(('local', 'blocked', 'cached'), (4, 3, 3))[0]]) for _ in range(100000)))

ECHO = r'''
#include <arpa/inet.h>
#include <stdlib.h>
int main(int c, char **v) {
  int s = socket(AF_INET, SOCK_DGRAM, 0); struct sockaddr_in a = {0}, p; char b[2048]; (void)c;
  a.sin_family = AF_INET; a.sin_port = htons(atoi(v[1])); inet_aton("127.0.0.1", &a.sin_addr);
  if (bind(s, (void *)&a, sizeof a)) return 1;
  for (;;) { socklen_t l = sizeof p; int n = recvfrom(s, b, sizeof b, 0, (void *)&p, &l);
    if (n < 12) continue;
    b[2] |= 0x80; sendto(s, b, n, 0, (void *)&p, l); } }
'''
TOOLS = {'dnsmasq': ['dnsmasq', '-k', '-C', P('dnsmasq.conf')], 'unbound': ['unbound', '-d', '-c', P('unbound.conf')],
         'labwright': [A.resolver, P('snapshot.json'), f'127.0.0.1:{PORT}', P('state')], 'echo': [P('echo'), str(PORT)]}
if 'echo' in A.tools:
    put('echo.c', [ECHO]); subprocess.run(['gcc', '-O2', '-o', P('echo'), P('echo.c')], check=True)

def ask(name, timeout=.02):
    """The code of the reply and its number of answers; nothing where none came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        message = struct.pack('>HHHHHH', random.randrange(65536), 0x100, 1, 0, 0, 0) + b''.join(bytes([len(x)]) + x.encode() for x in name.split('.')) + b'\0\0\1\0\1'
        try: s.sendto(message, ('127.0.0.1', PORT)); b = s.recv(2048); return b[3] & 15, struct.unpack('>H', b[6:8])[0]
        except OSError: return None

cpu = lambda pid: sum(map(int, open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[11:13])) / os.sysconf('SC_CLK_TCK')
rss = lambda pid: int(re.search(r'VmRSS:\s+(\d+)', open(f'/proc/{pid}/status').read()).group(1)) / 1024

def start(cmd):
    t = time.perf_counter()
    return subprocess.Popen(['taskset', '-c', '0'] + cmd, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=open(P('err.log'), 'a')), t

def end(p):
    p.send_signal(signal.SIGTERM)
    try: p.wait(10)
    except subprocess.TimeoutExpired: p.kill(); p.wait()

def until(p, t, is_so, what):
    while not is_so():
        if time.perf_counter() - t > 180 or p.poll() is not None: sys.exit(f'{what} did not come: ' + open(P('err.log')).read()[-500:])
        time.sleep(.001)
    return time.perf_counter() - t

def perf(mix, secs, rate=None):
    o = subprocess.run(['taskset', '-c', '1', 'dnsperf', '-s', '127.0.0.1', '-p', str(PORT), '-d', P('q.' + mix), '-l', str(secs), '-c', '8', '-T', '1', '-q', '100']
                       + (['-Q', str(rate), '-v'] if rate else []), capture_output=True, text=True).stdout
    g = lambda pat: float(re.search(pat, o).group(1))
    n = g(r'Queries completed:\s+(\d+)')
    late = sorted(float(line.split()[-1]) for line in o.splitlines() if line.startswith('>')) if rate else []
    return n, n / g(r'Run time \(s\):\s+([\d.]+)'), g(r'Queries lost:\s+(\d+)'), late

def blocked(): return (ask(D[12345]) or (0, 1)) == (3, 0)
def baseline():
    p, t = start([A.resolver, P('empty.json'), f'127.0.0.1:{PORT}', P('state-empty')])
    try:
        until(p, t, lambda: ask('svc7.lab.home.arpa') is not None, 'an answer'); time.sleep(.3); return rss(p.pid)
    finally: end(p)

def one(tool):
    subprocess.run(['rm', '-rf', P('state')]); p, t = start(TOOLS[tool])
    try:
        first = until(p, t, lambda: ask('svc7.lab.home.arpa') is not None, 'an answer')
        lists = until(p, t, blocked, 'the lists') if tool != 'echo' else 0
        if tool != 'echo':
            for name, want in (('svc7.lab.home.arpa', (0, 1)), ('www.' + D[99], (3, 0)), ('n5.n.corp1', (0, 1))):
                if ask(name, 2) != want: sys.stderr.write(f'{tool}: wrong answer for {name}: {ask(name, 2)}\n')
            for i in range(1000): ask(f'n{i}.n.corp1', 1)
        row = {'first ms': first * 1e3, 'lists ms': lists * 1e3}
        for mix in ('mix', 'local', 'blocked', 'cached'):
            before = cpu(p.pid); n, rate, lost, _ = perf(mix, A.secs if mix == 'mix' else max(3, A.secs // 2))
            row[f'{mix} us/q'] = (cpu(p.pid) - before) / n * 1e6
            if mix == 'mix': row['q/s'], row['lost'] = rate, lost
        late = perf('mix', max(3, A.secs // 2), int(row['q/s'] / 2))[3]
        row['half p99 ms'] = late[int(len(late) * .99)] * 1e3 if late else float('nan')
        row['MiB'] = rss(p.pid)
        return row
    finally: end(p)

def warm():
    p, t = start(TOOLS['labwright'])
    try: return until(p, t, lambda: ask('svc7.lab.home.arpa') is not None, 'an answer') * 1e3, until(p, t, blocked, 'the lists') * 1e3
    finally: end(p)

up = subprocess.Popen(['taskset', '-c', '1', 'dnsmasq', '-k', '-C', P('up.conf')], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
time.sleep(.5); results = {}
try:
    for _ in range(A.runs):
        for tool in A.tools.split(','):
            row = one(tool)
            if tool == 'labwright':
                row['MiB over empty'] = row['MiB'] - baseline(); row['warm first ms'], row['warm lists ms'] = warm()
            results.setdefault(tool, []).append(row); print(tool, {k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)
finally: end(up)
keys = list(dict.fromkeys(k for rows in results.values() for row in rows for k in row))
print('\t'.join(['server'] + keys))
for tool, rows in results.items():
    print('\t'.join([tool] + [f'{st.median(row[k] for row in rows):.2f}' if k in rows[0] else '-' for k in keys]))
