#!/usr/bin/env python3
"""The reverse proxy beside nginx, HAProxy and Caddy from Debian, in one run, on one machine.

Each proxy has one thread on core 0; the upstream (nginx, files of 1 KB and 100 KB) and wrk share core 1. Printed are
requests a second, p99, the proxy's own CPU time for a request (the figure to trust on a noisy machine), and its memory
idle, after the load, and with many idle connections. `hs` is a new TLS connection for each request. At the end our own
snapshot of 200 services is reloaded under load, and failed requests are counted.

  bench/proxy.py [--labwright target/release/labwright] [--runs 3] [--secs 10] [--tools nginx,haproxy,caddy,ours]
                 [--cases http-1k,http-100k,https-1k,https-100k,hs-1k] [--idle 10000]

Needs Debian's nginx-light, haproxy, caddy, wrk, nghttp2-client, openssl, util-linux.
"""
import argparse, json, os, re, resource, shutil, socket, ssl, statistics, subprocess, sys, tempfile, time, urllib.request

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--labwright', default='target/release/labwright')
ap.add_argument('--runs', type=int, default=3)
ap.add_argument('--secs', type=int, default=10)
ap.add_argument('--conns', type=int, default=64)
ap.add_argument('--idle', type=int, default=10000)
ap.add_argument('--tools', default='nginx,haproxy,caddy,ours')
ap.add_argument('--cases', default='http-1k,http-100k,https-1k,https-100k,hs-1k')
args = ap.parse_args()
for tool in ('nginx', 'haproxy', 'caddy', 'wrk', 'h2load', 'openssl', 'taskset'):
    if not shutil.which(tool, path=os.environ['PATH'] + ':/usr/sbin'):
        sys.exit(f'`{tool}` is missing')
os.environ['PATH'] += ':/usr/sbin'
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard))

work = tempfile.mkdtemp(prefix='labwright-bench-proxy-')
for folder in ('www', 'tmp', 'caddy', 'state', 'run'):
    os.makedirs(f'{work}/{folder}', exist_ok=True)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


UP, HTTP, HTTPS = free_port(), free_port(), free_port()
write = lambda name, text: open(f'{work}/{name}', 'w').write(text)
open(work + '/www/1k', 'wb').write(os.urandom(1024))
open(work + '/www/100k', 'wb').write(os.urandom(102400))
subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30',
                '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', work + '/key.pem',
                '-out', work + '/cert.pem'], check=True, stderr=subprocess.DEVNULL)
write('both.pem', open(work + '/cert.pem').read() + open(work + '/key.pem').read())


def nginx(http, pid):
    paths = ' '.join(f'{kind}_temp_path {work}/tmp;' for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'))
    return (f'daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 65536; pid {work}/tmp/{pid}; error_log /dev/null; '
            f'events {{ worker_connections 30000; }} http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 300; {paths} {http} }}\n')


write('up.conf', nginx(f'sendfile on; open_file_cache max=100; server {{ listen 127.0.0.1:{UP} backlog=4096; root {work}/www; }}', 'up'))
write('nginx.conf', nginx(
    f'upstream u {{ server 127.0.0.1:{UP}; keepalive 128; keepalive_requests 100000000; }} server {{ listen 127.0.0.1:{HTTP} backlog=4096; '
    f'listen 127.0.0.1:{HTTPS} ssl; ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; '
    'location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
    'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_buffers 16 16k; } }', 'px'))
write('haproxy.cfg', f'global\n maxconn {min(30000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)}\n nbthread 1\n tune.ssl.default-dh-param 2048\ndefaults\n mode http\n timeout connect 5s\n '
      f'timeout client 300s\n timeout server 60s\n option forwardfor\n http-reuse always\nfrontend f\n bind 127.0.0.1:{HTTP} backlog 4096\n '
      f'bind 127.0.0.1:{HTTPS} ssl crt {work}/both.pem\n default_backend b\nbackend b\n server s 127.0.0.1:{UP}\n')
one = f'reverse_proxy 127.0.0.1:{UP} {{\n transport http {{\n keepalive_idle_conns_per_host 128\n keepalive_idle_conns 128\n }}\n }}\n'
write('Caddyfile', '{\n admin off\n auto_https off\n log {\n level ERROR\n }\n}\n'
      f'http://127.0.0.1:{HTTP} {{\n {one}}}\nhttps://127.0.0.1:{HTTPS}, https://localhost:{HTTPS} {{\n '
      f'tls {work}/cert.pem {work}/key.pem\n bind 127.0.0.1\n {one}}}\n')
TOOLS = {
    'nginx': ['nginx', '-p', work, '-c', work + '/nginx.conf'],
    'haproxy': ['haproxy', '-db', '-f', work + '/haproxy.cfg'],
    'caddy': ['caddy', 'run', '--config', work + '/Caddyfile', '--adapter', 'caddyfile'],
    'ours': [os.path.abspath(args.labwright), 'serve', '--state', work + '/state', '--runtime', work + '/run', '--workers', '1'],
}
environment = dict(os.environ, HOME=work + '/caddy', XDG_DATA_HOME=work + '/caddy', XDG_CONFIG_HOME=work + '/caddy', GOMAXPROCS='1')
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def ask(request):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(work + '/run/control.sock')
        s.sendall(json.dumps(request).encode() + b'\n')
        return json.loads(s.makefile().readline())


def site(service, names):
    return dict(service=service, names=names, expose='public', routes=[], geo=False, clear_text=True, passthrough=False, cors=[],
                answer=dict(upstreams=dict(service=service, urls=[f'http://127.0.0.1:{UP}'], verify='system', needs=[])),
                auth=dict(forward=False, basic={}, open=[]), limits=dict(header=65536, header_time=300000, idle=60000, time=60000))


def push(generation, more=0):
    sites = [site('bench', ['127.0.0.1', 'localhost'])] + [site(f's{n}', [f's{n}.lab.test']) for n in range(more)]
    for s in sites:
        s['limits']['time'] += generation
    proxy = dict(listen=dict(addresses=['127.0.0.1'], http=HTTP, https=HTTPS), trusted=[], sites=sites, ports=[], access_log=False,
                 certificates=dict(authority=dict(common_name='bench', domains=['lab.test', 'localhost'], networks=['127.0.0.0/8'])))
    snapshot = dict(version=1, generation=generation, lab='bench', host='here', roles=dict(proxy=proxy))
    answer = ask(dict(ask='apply', snapshot=snapshot))
    if answer.get('answer') != 'applied':
        sys.exit(f'the snapshot was not taken: {answer}')


def get(url):
    try:
        return urllib.request.urlopen(url, timeout=2, context=context if url.startswith('https') else None).read()
    except OSError:
        return None


def family(pid):
    out = [pid]
    for child in open(f'/proc/{pid}/task/{pid}/children').read().split():
        out += family(int(child))
    return out


def cpu(pid):
    ticks = sum(sum(map(int, open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()[11:13])) for p in family(pid))
    return ticks / os.sysconf('SC_CLK_TCK')


def rss(pid):
    return sum(int(re.search(r'VmRSS:\s+(\d+)', open(f'/proc/{p}/status').read()).group(1)) for p in family(pid)) / 1024


def start(command, core):
    return subprocess.Popen(['taskset', '-c', str(core)] + command, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=open(work + '/err.log', 'a'))


def milliseconds(text):
    match = re.match(r'([\d.]+)(us|ms|s|m)', text)
    if not match: return float('nan')  # nothing was answered in that time, and wrk says so with a dash
    number, unit = match.groups()
    return float(number) * {'us': .001, 'ms': 1, 's': 1000, 'm': 60000}[unit]


def load(url, seconds, extra=()):
    out = subprocess.run(['taskset', '-c', '1', 'wrk', '-t1', f'-c{args.conns}', f'-d{seconds}s', '--latency', *extra, url],
                         capture_output=True, text=True).stdout
    if 'Non-2xx' in out or 'Socket errors' in out:
        print('  ' + ' '.join(line.strip() for line in out.splitlines() if 'Non-2xx' in line or 'Socket' in line), file=sys.stderr)
    count = int(re.search(r'(\d+) requests in', out).group(1))
    return count, float(re.search(r'Requests/sec:\s+([\d.]+)', out).group(1)), milliseconds(re.search(r'99%\s+(\S+)', out).group(1))


def idle_connections(pid, count):
    held = []
    try:
        for _ in range(count):
            s = socket.create_connection(('127.0.0.1', HTTP))
            s.sendall(b'GET /1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
            held.append(s)
            if len(held) % 200 == 0:
                time.sleep(.02)
        time.sleep(1)
        for s in held:
            s.recv(4096)
        return rss(pid)
    finally:
        for s in held:
            s.close()


results, memory = {}, {}
upstream = start(['nginx', '-p', work, '-c', work + '/up.conf'], 1)
time.sleep(.5)
try:
    for _ in range(args.runs):
        for tool in args.tools.split(','):
            process = start(TOOLS[tool], 0)
            try:
                begun = time.perf_counter()
                if tool == 'ours':
                    while True:
                        try:
                            generation = ask(dict(ask='status')).get('snapshot', {}).get('generation', 0)
                            break
                        except OSError:
                            time.sleep(.05)
                    push(generation + 1)
                while get(f'http://127.0.0.1:{HTTP}/1k') is None:
                    if process.poll() is not None or time.perf_counter() - begun > 20:
                        sys.exit(f'{tool} did not start: ' + open(work + '/err.log').read()[-800:])
                    time.sleep(.05)
                for base in (f'http://127.0.0.1:{HTTP}', f'https://127.0.0.1:{HTTPS}'):
                    if get(base + '/100k') != open(work + '/www/100k', 'rb').read():
                        sys.exit(f'{tool}: a wrong body from {base}')
                time.sleep(.5)
                idle = rss(process.pid)
                for case in args.cases.split(','):
                    kind, size = case.split('-')
                    url = f'http://127.0.0.1:{HTTP}/{size}' if kind == 'http' else f'https://127.0.0.1:{HTTPS}/{size}'
                    extra = ['-H', 'Connection: close'] if kind == 'hs' else []
                    load(url, 1, extra)
                    before = cpu(process.pid)
                    count, rate, p99 = load(url, args.secs, extra)
                    results.setdefault((case, tool), []).append((rate, p99, (cpu(process.pid) - before) / max(count, 1) * 1e6))
                loaded = rss(process.pid)
                memory.setdefault(tool, []).append((idle, loaded, idle_connections(process.pid, args.idle)))
            finally:
                process.terminate()
                process.wait()
    print(f'{"case":12}{"proxy":10}{"req/s":>10}{"p99 ms":>10}{"CPU us/req":>12}')
    median = lambda rows, column: statistics.median(row[column] for row in rows)
    for (case, tool), rows in sorted(results.items()):
        print(f'{case:12}{tool:10}{median(rows, 0):10.0f}{median(rows, 1):10.2f}{median(rows, 2):12.1f}')
    print(f'\n{"proxy":10}{"idle MiB":>10}{"loaded MiB":>12}{f"{args.idle} idle connections MiB":>30}')
    for tool, rows in memory.items():
        print(f'{tool:10}{median(rows, 0):10.1f}{median(rows, 1):12.1f}{median(rows, 2):30.1f}')
    if 'ours' in args.tools.split(','):
        process = start(TOOLS['ours'], 0)
        try:
            time.sleep(1)
            generation = ask(dict(ask='status'))['snapshot']['generation'] + 1
            push(generation, 199)
            loads = [subprocess.Popen(['h2load', '-t1', '-c32', '-D8', *protocol, f'https://localhost:{HTTPS}/1k'], stdout=subprocess.PIPE,
                                      text=True) for protocol in (['--h1'], ['-m8'])]
            time.sleep(1)
            times = []
            for n in range(10):
                begun = time.perf_counter()
                push(generation + 1 + n, 199)
                times.append((time.perf_counter() - begun) * 1000)
                time.sleep(.5)
            for protocol, running in zip(('HTTP/1.1', 'HTTP/2'), loads):
                line = next(line for line in running.communicate()[0].splitlines() if line.startswith('requests:'))
                print(f'reload of 200 services ten times under load, {protocol}: {line}')
            print(f'a reload took {statistics.median(times):.0f} ms')
        finally:
            process.terminate()
            process.wait()
finally:
    upstream.terminate()
    upstream.wait()
    shutil.rmtree(work, ignore_errors=True)
