#!/usr/bin/env python3
"""F. Start of a stack of 36 processes in the order of their needs by `labwright up`: time until all of them are ready.

  up.py [--runs 5] [--peers supervisor,concurrently] [--labwright PATH] [--idle 100] [--containers N] [--work DIR]

The stack, its programs and its critical path are those of `startup.py`; here nothing runs in containers. Columns: ready =
seconds until all listen; x = that divided by the critical path; lag = from the moment that the last need of a service listened to
its own start, median and largest, in milliseconds; order = services that started before a need listened (must be 0);
cpu = seconds of labwright's own processes until everything is ready. The peers run in the same rounds; none of them knows of
needs, so each service waits in a shell loop that asks the ports of its needs every 50 ms: their cpu is the tool's own processes and these loops'. Then, with --idle N processes that do nothing: CPU of supervisor and guard over
ten seconds in percent of a core, and their memory (proportional set size, PSS). With --containers N the same stack in containers, N times:
by `labwright up`, whose services are found by their ports, by docker-compose with health checks every 200 ms, and by the engine's API alone
(`engine`: containers made before, all in one network, each started when the last of its needs listens); on an engine of the
script's own, in a network namespace with nothing but loopback. Needs gcc, for the peers
supervisord and npm's concurrently (--concurrently PATH); for containers root, dockerd, docker-compose.
"""
import argparse, http.client, json, os, re, shutil, signal, socket, statistics as st, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--runs', type=int, default=5); ap.add_argument('--idle', type=int, default=100); ap.add_argument('--containers', type=int, default=0); ap.add_argument('--compose', default='docker-compose'); ap.add_argument('--peers', default=''); ap.add_argument('--concurrently', default='concurrently')
ap.add_argument('--labwright', default=HERE + '/../target/release/labwright'); ap.add_argument('--work', default='/tmp/labwright-bench/work/up')
A = ap.parse_args(); A.labwright = os.path.abspath(A.labwright); W = os.path.abspath(A.work); shutil.rmtree(W, ignore_errors=True); os.makedirs(W)
# One description of the stack for both: the graph and the program are read out of the other script.
other = open(HERE + '/startup.py').read()
program = re.search(r"SVC = r'''(.*?)'''", other, re.S).group(1)
block = 'G = {}' + other.split('\nG = {}', 1)[1].split('\nassert', 1)[0]; scope = {}; exec(block, scope); G = scope['G']
assert len(G) == 36
open(W + '/svc.c', 'w').write(program); subprocess.run(['gcc', '-O2', '-static', '-o', W + '/svc', W + '/svc.c'], check=True)
PORT = {n: 7801 + i for i, n in enumerate(G)}; LOG = W + '/log'; path = {}
def critical(n):
    if n not in path: path[n] = G[n][0] + max([critical(x) for x in G[n][1]], default=0)
    return path[n]
LIMIT = max(map(critical, G)) / 1000
def lab(services):
    open(W + '/lab.yaml', 'w').write('lab: bench\ncompute: { hosts: { here: { local: true } } }\nservices:\n' + services)
ENV = dict(os.environ, LABWRIGHT_STATE_DIR=W + '/state')
def events():
    seen = {}
    for line in open(LOG).read().splitlines() if os.path.exists(LOG) else []:
        name, what, at = line.split(); seen.setdefault(name, {})[what] = float(at)
    return seen
def ticks(pid):
    f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split(); return (int(f[11]) + int(f[12])) / os.sysconf('SC_CLK_TCK')
def ours(view):
    state = json.loads(subprocess.run([A.labwright, 'ps', '--json'], cwd=W, env=ENV, capture_output=True, text=True).stdout)
    guard = int(open(f'/proc/{state["pid"]}/stat').read().rsplit(')', 1)[1].split()[1])
    return [p for p in (view, guard, state['pid']) if p]
argv = lambda n: [W + '/svc', n, str(PORT[n]), str(G[n][0]), LOG]
waits = lambda n: ''.join(f'until {W}/svc check {PORT[d]}; do sleep 0.05; done; ' for d in G[n][1]) + 'exec ' + ' '.join(argv(n))
open(W + '/supervisord.conf', 'w').write(f'[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={W}/supervisord.pid\n' + ''.join(
    f'[program:{n}]\ncommand=/bin/sh -c "{waits(n)}"\nstartsecs=0\nautorestart=false\nstdout_logfile=NONE\nstderr_logfile=NONE\n' for n in G))
TOOLS = {'labwright': [A.labwright, 'up', '--plain'], 'supervisor': ['supervisord', '-c', W + '/supervisord.conf'], 'concurrently': [A.concurrently, '--raw', *map(waits, G)]}
rows = {t: [] for t in ['labwright', *filter(None, A.peers.split(','))]}
lab(''.join(f'  {n}: {{ on: here, port: {PORT[n]}, needs: {json.dumps(d)}, probe: /, run: {{ command: {json.dumps(argv(n))} }} }}\n' for n, (ms, d) in G.items()))
def one(tool):
    if os.path.exists(LOG): os.unlink(LOG)
    t0 = time.monotonic(); p = subprocess.Popen(TOOLS[tool], cwd=W, env=ENV, stdin=subprocess.DEVNULL, stdout=open(W + '/out', 'w'), stderr=open(W + '/err', 'w'), start_new_session=True)
    while sum('ready' in e for e in events().values()) < len(G):
        if p.poll() is not None or time.monotonic() - t0 > 120: sys.exit(f'{tool}: never ready: ' + open(W + '/err').read()[-2000:])
        time.sleep(.02)
    if tool == 'labwright': time.sleep(.3); cpu = sum(map(ticks, ours(p.pid)))
    seen = events(); lags = [(seen[n]['start'] - max(seen[d]['ready'] for d in G[n][1])) * 1000 for n in G if G[n][1]]
    ready = max(e['ready'] for e in seen.values()) - t0; p.send_signal(signal.SIGINT)
    _, _, ru = os.wait4(p.pid, 0); p.returncode = 0
    # What the tool waited for is in its own account: the loops, and services, which sleep and cost next to nothing.
    if tool != 'labwright': cpu = ru.ru_utime + ru.ru_stime
    rows[tool].append((ready, ready / LIMIT, st.median(lags), max(lags), sum(l < 0 for l in lags), cpu)); print(tool, [round(x, 3) for x in rows[tool][-1]], flush=True)
for _ in range(A.runs):
    for tool in rows: one(tool)
if A.runs:
    print(f'\n36 processes, critical path {LIMIT:.2f} s\ntool\truns\tready\tx\tmin-max\tlag\tlargest\torder\tcpu')
    for tool, all in rows.items():
        m = lambda j: st.median(r[j] for r in all)
        print(f'{tool}\t{len(all)}\t{m(0):.2f}\t{m(1):.3f}\t{min(r[1] for r in all):.3f}-{max(r[1] for r in all):.3f}\t{m(2):.1f}\t{m(3):.0f}\t{m(4):.0f}\t{m(5):.2f}')
if A.idle:
    lab(''.join(f'  idle-{n}: {{ on: here, run: {{ command: [/bin/sleep, infinity] }} }}\n' for n in range(A.idle)))
    subprocess.run([A.labwright, 'up', '--wait'], cwd=W, env=ENV, check=True, capture_output=True); pids = ours(None); time.sleep(2)
    before = sum(map(ticks, pids)); time.sleep(10); used = (sum(map(ticks, pids)) - before) * 10
    pss = sum(int(re.search(r'^Pss:\s+(\d+)', open(f'/proc/{p}/smaps_rollup').read(), re.M).group(1)) for p in pids) / 1024
    rss = sum(int(re.search(r'VmRSS:\s+(\d+)', open(f'/proc/{p}/status').read()).group(1)) for p in pids) / 1024
    print(f'idle with {A.idle} processes: {used:.2f} % of a core, {pss:.1f} MB (PSS), {rss:.1f} MB (RSS)')
    subprocess.run([A.labwright, 'down'], cwd=W, env=ENV, check=True, capture_output=True)
if A.containers:
    SOCKET = W + '/docker.sock'; IMAGE = '127.0.0.1:1/svc:1'; SHARED = W + '/shared'; os.makedirs(SHARED); os.makedirs(W + '/img'); LOG = SHARED + '/log'
    ENV |= {'DOCKER_HOST': 'unix://' + SOCKET, 'COMPOSE_HTTP_TIMEOUT': '120'}
    # In a container it listens on every address, and nothing is published: whoever needs one looks at its port inside.
    open(W + '/svc.c', 'w').write(program.replace('127.0.0.1', '0.0.0.0')); subprocess.run(['gcc', '-O2', '-static', '-o', W + '/img/svc', W + '/svc.c'], check=True)
    log = open(W + '/dockerd.log', 'w')
    daemon = subprocess.Popen(['unshare', '--net', '--mount', 'sh', '-c', f'ip link set lo up; exec dockerd --data-root {W}/data --exec-root {W}/exec --pidfile {W}/pid --host unix://{SOCKET} --group root'], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    inside = lambda *args: ['nsenter', '--net', '--mount', '-t', str(daemon.pid), 'env', '-C', W, *args]
    argv = lambda n: ['/svc', n, str(PORT[n]), str(G[n][0]), '/shared/log']
    lab(''.join(f'  {n}: {{ on: here, port: app:{PORT[n]}, needs: {json.dumps(d)}, containers: {{ app: {{ image: "{IMAGE}", command: {json.dumps(argv(n))}, volumes: ["./shared:/shared"] }} }} }}\n' for n, (ms, d) in G.items()))
    y = ['version: "2.4"', 'services:']
    for n, (ms, d) in G.items():
        y += [f'  {n}:', f'    image: {IMAGE}', '    stop_grace_period: 1s', '    volumes: ["./shared:/shared"]', '    command: ' + json.dumps(argv(n)), f'    healthcheck: {{test: ["CMD", "/svc", "check", "{PORT[n]}"], interval: 200ms, timeout: 5s, retries: 1000}}']
        y += (['    depends_on:'] + [f'      {x}: {{condition: service_healthy}}' for x in d]) if d else []
    open(W + '/docker-compose.yml', 'w').write('\n'.join(y) + '\n'); tools = {'labwright': ([A.labwright, 'up', '--wait'], [A.labwright, 'down']), 'compose': ([A.compose, '-p', 'stack', 'up', '-d'], [A.compose, '-p', 'stack', 'down', '-t', '1'])}; rows = {}
    try:
        for _ in range(300):
            if subprocess.run(['docker', 'version'], env=ENV, capture_output=True).returncode == 0: break
            time.sleep(.1)
        else: sys.exit('dockerd does not answer: ' + open(W + '/dockerd.log').read()[-2000:])
        subprocess.run('tar -C img -c svc | docker import - ' + IMAGE, shell=True, cwd=W, env=ENV, check=True, capture_output=True)
        class Engine(http.client.HTTPConnection):
            def connect(self): self.sock = socket.socket(socket.AF_UNIX); self.sock.connect(SOCKET)
        def start(n): c = Engine('localhost'); c.request('POST', f'/containers/bench-{n}/start'); c.getresponse().read()
        docker = lambda *args: subprocess.run(['docker', *args], env=ENV, check=True, capture_output=True)
        for _ in range(A.containers):
            if os.path.exists(LOG): os.unlink(LOG)
            docker('network', 'create', 'bench')
            for n in G: docker('create', '--name', 'bench-' + n, '--network', 'bench', '-v', SHARED + ':/shared', IMAGE, *argv(n))
            t0 = time.monotonic(); left = set(G); seen = {}
            while sum('ready' in e for e in seen.values()) < len(G) and time.monotonic() - t0 < 120:
                seen = events()
                for n in [n for n in left if all('ready' in seen.get(d, {}) for d in G[n][1])]: left.discard(n); threading.Thread(target=start, args=(n,), daemon=True).start()
                time.sleep(.005)
            lags = [(seen[n]['start'] - max(seen[d]['ready'] for d in G[n][1])) * 1000 for n in G if G[n][1]]; ready = max(e['ready'] for e in seen.values()) - t0
            rows.setdefault('engine', []).append((ready, ready / LIMIT, st.median(lags), max(lags), sum(l < 0 for l in lags))); print('engine', [round(x, 3) for x in rows['engine'][-1]], flush=True)
            docker('rm', '-f', *['bench-' + n for n in G]); docker('network', 'rm', 'bench')
            for tool, (begin, end) in tools.items():
                if os.path.exists(LOG): os.unlink(LOG)
                t0 = time.monotonic(); ran = subprocess.run(inside(*begin), env=ENV, capture_output=True, text=True); until = time.monotonic() + 20
                # docker-compose returns when the last one is started.
                while sum('ready' in e for e in events().values()) < len(G) and time.monotonic() < until: time.sleep(.02)
                seen = events()
                if sum('ready' in e for e in seen.values()) < len(G): sys.exit(f'{tool}: never ready: {ran.stderr[-2000:]}')
                lags = [(seen[n]['start'] - max(seen[d]['ready'] for d in G[n][1])) * 1000 for n in G if G[n][1]]; ready = max(e['ready'] for e in seen.values()) - t0
                rows.setdefault(tool, []).append((ready, ready / LIMIT, st.median(lags), max(lags), sum(l < 0 for l in lags))); print(tool, [round(x, 3) for x in rows[tool][-1]], flush=True)
                subprocess.run(inside(*end), env=ENV, check=True, capture_output=True)
        print(f'\n36 containers, critical path {LIMIT:.2f} s\ntool\truns\tready\tx\tlag\tlargest\torder')
        for tool, all in rows.items(): print('\t'.join([tool, str(len(all))] + [f'{st.median(r[j] for r in all):.{k}f}' for j, k in enumerate((2, 3, 1, 0, 0))]))
    finally: daemon.terminate(); daemon.wait()
