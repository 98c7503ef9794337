#!/usr/bin/env python3
"""F. Start of a stack of 36 containers in the order of their needs, beside docker-compose: time until all of them are ready.

  startup.py [--runs 3] [--tools floor,engine,engine-1s,labwright-1s,labwright-30s,compose-200ms,compose-1s] [--labwright PATH] [--work DIR]

Each container is one tiny static C server: it sleeps a known time, then listens; its health check is one GET by the same
program. One Compose file for all tools: `network_mode: host`, `depends_on` with `service_healthy`, and the interval of the
health checks that the tool's name says. The limit is the critical path of the sleeps (no orchestrator can beat it); `floor`
starts the same programs without containers, each as soon as the last of its needs listens; `engine` starts containers that were made
before the clock runs, by the engine's API, in the same way: what a container costs at least, with nobody judging its health;
`engine-1s` the same with the health checks that the file declares, which nobody waits for: what their asking takes from what starts.
The engine is a dockerd of the script's own, in a network namespace with nothing but loopback, and its folder is --work.
Columns: ready = seconds until all listen; x = that divided by the limit; return = seconds until the tool said so;
lag = from the moment the last need of a container listened to its own start, median and largest, in milliseconds;
order = containers that started before a need listened (must be 0); cpu = seconds of the machine, everything.
Needs root, dockerd, docker-compose, gcc, busybox-static.
"""
import argparse, http.client, json, os, shutil, signal, socket, statistics as st, subprocess, sys, threading, time
from dockerd import Dockerd

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--runs', type=int, default=3); ap.add_argument('--tools', default='floor,engine,engine-1s,labwright-1s,labwright-30s,compose-200ms,compose-1s')
ap.add_argument('--labwright', default=os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
ap.add_argument('--compose', default='docker-compose'); ap.add_argument('--work', default='/tmp/labwright-bench/work/f')
ap.add_argument('--timeout', type=int, default=180); ap.add_argument('--scale', type=float, default=1, help='multiply every sleep')
A = ap.parse_args(); A.labwright = os.path.abspath(A.labwright); W = os.path.abspath(A.work); shutil.rmtree(W, ignore_errors=True); os.makedirs(W + '/img')
SVC = r'''
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <time.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec/1e9;}
static void note(const char*f,const char*n,const char*w){char b[200];int k=snprintf(b,200,"%s %s %.6f\n",n,w,now());int d=open(f,O_WRONLY|O_APPEND|O_CREAT,0666);if(d>=0){if(write(d,b,k)<0){}close(d);}}
static int sock(int port,struct sockaddr_in*a){int s=socket(AF_INET,SOCK_STREAM|SOCK_CLOEXEC,0),o=1;setsockopt(s,SOL_SOCKET,SO_REUSEADDR,&o,4);memset(a,0,sizeof*a);a->sin_family=AF_INET;a->sin_port=htons(port);inet_aton("127.0.0.1",&a->sin_addr);return s;}
static void bye(int s){(void)s;_exit(0);}
int main(int c,char**v){struct sockaddr_in a;char b[4096];int port=atoi(v[2]);(void)c;
 if(!strcmp(v[1],"check")){int s=sock(port,&a);if(connect(s,(void*)&a,sizeof a))return 1;if(write(s,"GET / HTTP/1.0\r\n\r\n",18)<0)return 1;int n=read(s,b,12);return !(n>=12&&!memcmp(b+9,"200",3));}
 signal(SIGPIPE,SIG_IGN);signal(SIGTERM,bye);note(v[4],v[1],"start");usleep(atol(v[3])*1000L);
 int s=sock(port,&a);if(bind(s,(void*)&a,sizeof a)||listen(s,64)){note(v[4],v[1],"bindfail");return 1;}note(v[4],v[1],"ready");
 for(;;){int k=accept(s,0,0);if(k<0)continue;struct timeval tv={1,0};setsockopt(k,SOL_SOCKET,SO_RCVTIMEO,&tv,sizeof tv);int n=read(k,b,sizeof b);
  if(n>0){const char*r="HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";if(write(k,r,strlen(r))<0){}}close(k);}}
'''
BIN = W + '/img/svc'; open(W + '/svc.c', 'w').write(SVC); subprocess.run(['gcc', '-O2', '-static', '-o', BIN, W + '/svc.c'], check=True)
G = {}  # name: (sleep in ms, needs); depth 7
for n, d in (('postgres', 1200), ('mysql', 1500), ('mongo', 900), ('redis', 200), ('rabbit', 2000), ('nats', 250), ('minio', 700), ('vault', 600), ('otel', 400), ('dns', 150)): G[n] = (d, [])
G |= {'migrate-pg': (600, ['postgres', 'vault']), 'migrate-my': (500, ['mysql', 'vault']), 'topics': (300, ['rabbit']), 'streams': (150, ['nats']), 'buckets': (200, ['minio']), 'indexes': (250, ['mongo'])}
for i, (n, d, deps) in enumerate((('auth', 500, ['migrate-pg', 'redis']), ('users', 450, ['migrate-pg', 'otel']), ('catalog', 600, ['indexes', 'redis', 'dns']), ('orders', 800, ['topics', 'migrate-my', 'otel']),
        ('payments', 700, ['topics', 'vault', 'migrate-pg']), ('media', 400, ['buckets', 'streams']))):
    G[n] = (d, deps); G[n + '-sidecar'] = (150 + 20 * i, [n])
G |= {'cart': (300, ['orders-sidecar', 'catalog-sidecar']), 'checkout': (500, ['orders-sidecar', 'payments-sidecar', 'auth-sidecar']), 'profile': (300, ['users-sidecar', 'media-sidecar']), 'feed': (400, ['catalog-sidecar', 'media-sidecar'])}
G |= {'gateway': (500, ['checkout', 'cart', 'profile', 'feed', 'auth-sidecar']), 'admin': (400, ['users-sidecar', 'payments-sidecar']), 'web': (300, ['gateway']), 'proxy': (200, ['web', 'admin'])}
assert len(G) == 36, len(G)
G = {n: (int(d * A.scale), deps) for n, (d, deps) in G.items()}
PORT = {n: 7801 + i for i, n in enumerate(G)}; LOG = W + '/log'; IMAGE = '127.0.0.1:1/svc:1'  # no registry is there: what is here counts
path = {}
def critical(n):
    if n not in path: path[n] = G[n][0] + max([critical(x) for x in G[n][1]], default=0)
    return path[n]
LIMIT = max(map(critical, G)) / 1000
argv = lambda n, program='/svc': [program, n, str(PORT[n]), str(G[n][0]), LOG]

dockerd = Dockerd(W, '--bridge none --iptables=false --ip6tables=false'); docker, ENV = dockerd.docker, dict(dockerd.env, COMPOSE_HTTP_TIMEOUT='120')

def project(interval):
    folder = f'{W}/stack-{interval}'; os.makedirs(folder, exist_ok=True); y = ['version: "2.4"', 'services:']
    for n in G:
        y += [f'  {n}:', f'    image: {IMAGE}', '    network_mode: host', '    stop_grace_period: 1s', f'    volumes: ["{W}:{W}"]', '    command: ' + json.dumps(argv(n)),
              f'    healthcheck: {{test: ["CMD", "/svc", "check", "{PORT[n]}"], interval: {interval}, timeout: 5s, retries: 1000}}']
        if G[n][1]: y += ['    depends_on:'] + [f'      {x}: {{condition: service_healthy}}' for x in G[n][1]]
    open(folder + '/docker-compose.yml', 'w').write('\n'.join(y) + '\n')
    open(folder + '/lab.yaml', 'w').write(f'lab: bench\ncompute: {{ docker_hosts: [here], hosts: {{ here: {{ local: true, docker_socket: {dockerd.socket} }} }} }}\nservices:\n  stack: {{ on: here, compose: docker-compose.yml }}\n')
    return folder
def command(tool):
    kind, _, interval = tool.partition('-')
    if kind == 'labwright': return [A.labwright, 'apply', '--yes'], project(interval)
    if kind == 'compose': return [A.compose, '-p', 'stack', 'up', '-d'], project(interval)
    waits = lambda n: ''.join(f'until grep -q "^{d} ready" {LOG} 2>/dev/null; do sleep 0.01; done; ' for d in G[n][1])
    return ['sh', '-c', ' '.join(f'( {waits(n)} exec ' + ' '.join(argv(n, BIN)) + ' ) &' for n in G) + ' wait'], W
def events():
    seen = {}
    try: lines = open(LOG).read().splitlines()
    except FileNotFoundError: return seen
    for line in lines:
        name, what, at = line.split(); seen.setdefault(name, {})[what] = float(at)
    return seen
class Engine(http.client.HTTPConnection):
    def connect(self): self.sock = socket.socket(socket.AF_UNIX); self.sock.connect(dockerd.socket)
def make(name, interval):
    body = {'Image': IMAGE, 'Cmd': argv(name), 'HostConfig': {'NetworkMode': 'host', 'Binds': [f'{W}:{W}']}}
    if interval: body['Healthcheck'] = {'Test': ['CMD', '/svc', 'check', str(PORT[name])], 'Interval': nanoseconds(interval), 'Timeout': 5 * 10 ** 9, 'Retries': 1000}
    c = Engine('localhost'); c.request('POST', f'/containers/create?name=bench-{name}', json.dumps(body), {'Content-Type': 'application/json'}); r = c.getresponse(); said = r.read()
    if r.status != 201: sys.exit(f'create {name}: {r.status} {said}')
def nanoseconds(interval): return int(interval[:-2]) * 10 ** 6 if interval.endswith('ms') else int(interval[:-1]) * 10 ** 9
def start(name):
    c = Engine('localhost'); c.request('POST', f'/containers/bench-{name}/start'); r = c.getresponse(); r.read()
    if r.status != 204: sys.stderr.write(f'start {name}: {r.status}\n')
def by_engine(until):
    left = set(G)
    while left and time.monotonic() < until:
        seen = events()
        for name in [n for n in left if all('ready' in seen.get(d, {}) for d in G[n][1])]:
            left.discard(name); threading.Thread(target=start, args=(name,), daemon=True).start()
        time.sleep(.005)
def cpu(): return sum(map(int, open('/proc/stat').readline().split()[1:4])) / os.sysconf('SC_CLK_TCK')

rows = {}
with dockerd:
    dockerd.image(IMAGE, 'svc')
    for _ in range(A.runs):
        for tool in A.tools.split(','):
            if os.path.exists(LOG): os.unlink(LOG)
            shutil.rmtree(W + '/state', ignore_errors=True); is_engine = tool.startswith('engine'); cmd, folder = (['sleep', '100000'], W) if is_engine else command(tool)
            if is_engine: [make(n, tool.partition('-')[2]) for n in G]
            env = dict(ENV, LABWRIGHT_STATE_DIR=W + '/state'); c0 = cpu(); t0 = time.monotonic()
            p = subprocess.Popen(cmd, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=open(W + '/last.out', 'w'), stderr=subprocess.STDOUT, start_new_session=True)
            ready = returned = None
            if is_engine: threading.Thread(target=by_engine, args=(t0 + A.timeout,), daemon=True).start()
            while time.monotonic() - t0 < A.timeout and (ready is None or (returned is None and tool != 'floor' and not is_engine)):
                if returned is None and p.poll() is not None: returned = time.monotonic() - t0
                if ready is None and sum('ready' in e for e in events().values()) == len(G): ready = max(e['ready'] for e in events().values()) - t0
                if returned is not None and p.returncode and ready is None: break
                time.sleep(.01)
            c1 = cpu(); seen = events()
            try: os.killpg(p.pid, signal.SIGTERM)
            except OSError: pass
            p.wait()
            dockerd.clear()
            if ready is None: sys.stderr.write(f'{tool}: never ready: {[n for n in G if "ready" not in seen.get(n, {})]}\n' + open(W + '/last.out').read()[-1500:] + '\n'); continue
            lags = [(seen[n]['start'] - max(seen[d]['ready'] for d in G[n][1])) * 1000 for n in G if G[n][1]]
            row = (ready, ready / LIMIT, returned or ready, st.median(lags), max(lags), sum(x < 0 for x in lags), c1 - c0)
            rows.setdefault(tool, []).append(row); print(tool, [round(x, 2) for x in row], flush=True)
print(f'\n36 containers, critical path {LIMIT:.2f} s\ntool\truns\tready\tmin-max\tx\treturn\tlag\tlargest\torder\tcpu')
for tool, all in rows.items():
    m = lambda j: st.median(x[j] for x in all)
    print(f'{tool}\t{len(all)}\t{m(0):.2f}\t{min(x[0] for x in all):.2f}-{max(x[0] for x in all):.2f}\t{m(1):.2f}\t{m(2):.2f}\t{m(3):.0f}\t{m(4):.0f}\t{m(5):.0f}\t{m(6):.1f}')
