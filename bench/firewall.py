#!/usr/bin/env python3
"""I. What a router forwards with the generated ruleset, beside an empty one, and with 10, 100 and 1,000 hosts in its sets.

  firewall.py [--hosts 10,100,1000] [--rounds 300] [--slot 0.1] [--labwright PATH] [--work DIR]

Three network namespaces of the script's own: a client, a router, a server, with veth pairs between them. The router loads
what `labwright flows --ruleset gw` prints for a lab of so many hosts, half in each of two zones, each of which may reach one
of the other zone; client and server are the last of their zones. First each ruleset is tried: the port that the flow names
is open, the one beside it is not. Then one iperf3 stream (TCP) runs through the router all the time and the router's ruleset
is changed under it: every round gives each ruleset one slot, in an order of its own, and counts the bytes that arrive at the
server's interface in it. `empty` is a router with no rule at all, and `empty again` the same once more: how far that is from
100 % is what the machine can tell apart. A ratio compares slots of one round, fractions of a second apart. Printed: the median,
its 95 % interval (bootstrap) and the middle half. Needs root, iperf3, nft, ip; the goal is 95 % of `empty`, whatever the
number of hosts.
"""
import argparse, os, random, shutil, statistics as st, subprocess, sys, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--hosts', default='10,100,1000'); ap.add_argument('--rounds', type=int, default=300); ap.add_argument('--slot', type=float, default=.1)
ap.add_argument('--labwright', default=os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
ap.add_argument('--work', default='/tmp/labwright-bench/work/i'); ap.add_argument('--seed', type=int, default=1)
A = ap.parse_args(); A.labwright = os.path.abspath(A.labwright); W = os.path.abspath(A.work); shutil.rmtree(W, ignore_errors=True); os.makedirs(W)
ID = f'lwfw{os.getpid()}'; C, R, S = (f'{ID}-{end}' for end in 'crs'); PORT = 5201; CLIENT, SERVER = '10.60.250.250', '10.61.250.250'
for tool in ('iperf3', 'nft', 'ip'):
    if not shutil.which(tool): sys.exit(f'missing: `{tool}`; apt install iperf3 nftables iproute2')

def sh(*args, ok=True, **k): return subprocess.run(args, check=ok, capture_output=True, text=True, **k)
def within(ns, *args, **k): return sh('ip', 'netns', 'exec', ns, *args, **k)
def address(zone, n, last): return (CLIENT, SERVER)[zone] if n == last else f'10.{60 + zone}.{n // 200}.{10 + n % 200}'

def ruleset(n):
    half = max(n // 2, 1); lines = [
        'lab: bench', 'edge: { router: gw }', 'network:', '  firewall: enforce', '  zones: { a: { subnet: 10.60.0.0/16 }, b: { subnet: 10.61.0.0/16 } }', '  flows:', '    - { from: a, to: gw, allow: ssh }']
    lines += [f'    - {{ from: a{i}, to: b{i}, allow: {PORT}/tcp }}' for i in range(half)]
    lines += ['compute:', '  hosts:', '    gw: { zone: a, address: [10.60.0.1, 10.61.0.1] }']
    lines += [f'    {z}{i}: {{ zone: {z}, address: {address(zi, i, half - 1)}, os: other }}' for zi, z in enumerate('ab') for i in range(half)]
    folder = f'{W}/{n}'; os.makedirs(folder); open(f'{folder}/lab.yaml', 'w').write('\n'.join(lines) + '\n')
    p = sh(A.labwright, 'flows', folder, '--ruleset', 'gw', ok=False, env=dict(os.environ, LABWRIGHT_STATE_DIR=W + '/state'))
    if p.returncode: sys.exit(f'flows: {p.returncode}\n{p.stdout[-2000:]}{p.stderr[-2000:]}')
    return p.stdout

def up():
    for ns in (C, R, S): sh('ip', 'netns', 'add', ns); sh('ip', '-n', ns, 'link', 'set', 'lo', 'up')
    for end, ns, gw, own in (('c', C, '10.60.0.1', CLIENT), ('s', S, '10.61.0.1', SERVER)):
        sh('ip', '-n', R, 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns)
        sh('ip', '-n', R, 'addr', 'add', gw + '/16', 'dev', end); sh('ip', '-n', R, 'link', 'set', end, 'up'); sh('ip', '-n', ns, 'link', 'set', 'eth0', 'up')
        sh('ip', '-n', ns, 'addr', 'add', own + '/16', 'dev', 'eth0'); sh('ip', '-n', ns, 'route', 'replace', 'default', 'via', gw)
    within(R, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
def opens(port):
    return within(C, sys.executable, '-c', f'import socket; socket.create_connection(("{SERVER}", {port}), 1.5)', ok=False).returncode == 0
def load(name):
    """In one transaction: what was there goes and what comes is in place in the same moment."""
    loader.stdin.write(f'nft -f "{W}/{name}.nft" && echo loaded\n'); loader.stdin.flush()
    if loader.stdout.readline() != 'loaded\n': sys.exit(f'{name}: nft refuses it')
def tried(name):
    load(name)
    if not opens(PORT): sys.exit(f'{name}: the flow does not get through')
    if opens(PORT + 1) == bool(rulesets[name]): sys.exit(f'{name}: what no flow allows ' + ('got through' if rulesets[name] else 'did not get through an empty router'))
# Reads the interface's counter whenever it is asked for it: bytes, with the moment.
COUNTER = 'import sys, time\nfor _ in sys.stdin: print(time.monotonic(), open("/sys/class/net/eth0/statistics/rx_bytes").read().strip(), flush=True)'
def counted():
    counter.stdin.write('\n'); counter.stdin.flush(); at, count = counter.stdout.readline().split(); return float(at), int(count)
def slot(name):
    load(name); time.sleep(A.slot / 4)  # what the change itself costs counts for nothing
    (t0, b0), _, (t1, b1) = counted(), time.sleep(A.slot), counted()
    return (b1 - b0) * 8 / (t1 - t0) / 1e9
def interval(values):
    medians = sorted(st.median(dice.choices(values, k=len(values))) for _ in range(2000)); return medians[50], medians[-51]

running = []
def spawn(ns, *args, **k): running.append(subprocess.Popen(['ip', 'netns', 'exec', ns, *args], text=True, **k)); return running[-1]
QUIET = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    up(); rulesets = {'empty': '', 'empty again': '', **{f'{n} hosts': ruleset(n) for n in sorted(map(int, A.hosts.split(',')))}}
    for name, rules in rulesets.items(): open(f'{W}/{name}.nft', 'w').write('flush ruleset\n' + rules)
    loader = spawn(R, 'sh', stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # a shell of the router's own: a change takes milliseconds
    for port in (PORT, PORT + 1): spawn(S, 'iperf3', '-s', '-p', str(port), **QUIET)
    deadline = time.monotonic() + 5
    while not (opens(PORT) and opens(PORT + 1)):
        if time.monotonic() > deadline: sys.exit('iperf3 does not listen')
    for name in rulesets: tried(name)
    counter = spawn(S, sys.executable, '-u', '-c', COUNTER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    load('empty'); seconds = int(len(rulesets) * A.rounds * (A.slot * 1.25 + .1)) + 60
    stream = spawn(C, 'iperf3', '-c', SERVER, '-p', str(PORT), '-t', str(seconds), **QUIET); time.sleep(2)
    got = {name: [] for name in rulesets}; dice = random.Random(A.seed)
    for _ in range(A.rounds):
        for name in dice.sample(list(rulesets), len(rulesets)): got[name].append(slot(name))
        if stream.poll() is not None: sys.exit('the stream ended before its time')
    stalled = [name for name, speeds in got.items() if speeds.count(0) > A.rounds / 100]
    print(f'ruleset\tGbit/s\tof empty\t95 % of the median\tmiddle half\t({A.rounds} rounds of {A.slot} s each, iperf3 {sh("iperf3", "--version").stdout.split()[1]}, kernel {os.uname().release})')
    for name, speeds in got.items():
        ratios = [100 * mine / empty for mine, empty in zip(speeds, got['empty']) if empty]; low, high = interval(ratios); quarters = st.quantiles(ratios, n=4)
        print(f'{name}\t{st.median(speeds):.2f}\t{st.median(ratios):.1f} %\t{low:.1f}-{high:.1f}\t{quarters[0]:.1f}-{quarters[2]:.1f}')
    if stalled: sys.exit(f'the stream stood still under: {", ".join(stalled)}')
finally:
    for process in reversed(running): process.terminate(); process.wait()
    for ns in (C, R, S): sh('ip', 'netns', 'del', ns, ok=False)
