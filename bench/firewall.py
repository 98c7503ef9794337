#!/usr/bin/env python3
"""I. What a router forwards with the generated ruleset, beside an empty one, and with 10, 100 and 1,000 hosts in its sets.

  firewall.py [--hosts 10,100,1000] [--runs 7] [--seconds 3] [--labwright PATH] [--work DIR]

Three network namespaces of the script's own: a client, a router, a server, with veth pairs between them. The router loads
what `labwright flows --ruleset gw` prints for a lab of so many hosts, half in each of two zones, each of which may reach one
of the other zone; the client is the first of the one, the server the last of the other. iperf3 (one TCP stream) goes through
it. Every round measures every ruleset once, in an order of its own; `empty` is a router with no rule at all. What counts is
the ratio to `empty` within one round: median, and the smallest and largest. A check before each: the port that the flow names
is open, the one beside it is not. Needs root, iperf3, nft, ip; the goal is 95 % of `empty`, whatever the number of hosts.
"""
import argparse, json, os, random, shutil, socket, statistics as st, subprocess, sys, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--hosts', default='10,100,1000'); ap.add_argument('--runs', type=int, default=7); ap.add_argument('--seconds', type=int, default=3)
ap.add_argument('--labwright', default=os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
ap.add_argument('--work', default='/tmp/labwright-bench/work/i'); ap.add_argument('--seed', type=int, default=1)
A = ap.parse_args(); A.labwright = os.path.abspath(A.labwright); W = os.path.abspath(A.work); shutil.rmtree(W, ignore_errors=True); os.makedirs(W)
ID = f'lwfw{os.getpid()}'; C, R, S = (f'{ID}-{end}' for end in 'crs'); PORT = 5201
for tool in ('iperf3', 'nft', 'ip'):
    if not shutil.which(tool): sys.exit(f'missing: `{tool}`; apt install iperf3 nftables iproute2')

def sh(*args, ok=True, **k): return subprocess.run(args, check=ok, capture_output=True, text=True, **k)
def within(ns, *args, **k): return sh('ip', 'netns', 'exec', ns, *args, **k)
def address(zone, n): return f'10.{60 + zone}.{n // 200}.{10 + n % 200}'

def ruleset(n):
    half = max(n // 2, 1); lines = [
        'lab: bench', 'edge: { router: gw }', 'network:', '  firewall: enforce', '  zones: { a: { subnet: 10.60.0.0/16 }, b: { subnet: 10.61.0.0/16 } }', '  flows:', '    - { from: a, to: gw, allow: ssh }']
    # The pair that is measured is the one that a walk through the sets would come to last.
    lines += [f'    - {{ from: a{i}, to: b{i}, allow: {PORT}/tcp }}' for i in range(half)]
    lines += ['compute:', '  hosts:', '    gw: { zone: a, address: [10.60.0.1, 10.61.0.1] }']
    lines += [f'    {z}{i}: {{ zone: {z}, address: {address(zi, i)}, os: other }}' for zi, z in enumerate('ab') for i in range(half)]
    folder = f'{W}/{n}'; os.makedirs(folder); open(f'{folder}/lab.yaml', 'w').write('\n'.join(lines) + '\n')
    p = sh(A.labwright, 'flows', folder, '--ruleset', 'gw', ok=False, env=dict(os.environ, LABWRIGHT_STATE_DIR=W + '/state'))
    if p.returncode: sys.exit(f'flows: {p.returncode}\n{p.stdout[-2000:]}{p.stderr[-2000:]}')
    open(f'{folder}/gw.nft', 'w').write(p.stdout)
    return f'{folder}/gw.nft', address(0, half - 1), address(1, half - 1)

def up():
    for ns in (C, R, S): sh('ip', 'netns', 'add', ns); sh('ip', '-n', ns, 'link', 'set', 'lo', 'up')
    for end, ns, gw in (('c', C, '10.60.0.1'), ('s', S, '10.61.0.1')):
        sh('ip', '-n', R, 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns)
        sh('ip', '-n', R, 'addr', 'add', gw + '/16', 'dev', end); sh('ip', '-n', R, 'link', 'set', end, 'up'); sh('ip', '-n', ns, 'link', 'set', 'eth0', 'up')
    within(R, 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
def place(client, server):
    for ns, own, gw in ((C, client, '10.60.0.1'), (S, server, '10.61.0.1')):
        sh('ip', '-n', ns, 'addr', 'flush', 'dev', 'eth0'); sh('ip', '-n', ns, 'addr', 'add', own + '/16', 'dev', 'eth0'); sh('ip', '-n', ns, 'route', 'replace', 'default', 'via', gw)
def opens(server, port):
    return within(C, sys.executable, '-c', f'import socket; socket.create_connection(("{server}", {port}), 1.5)', ok=False).returncode == 0
def once(name, rules, client, server):
    place(client, server); within(R, 'nft', 'flush', 'ruleset')
    if rules: within(R, 'nft', '-f', rules)
    daemons = [subprocess.Popen(['ip', 'netns', 'exec', S, 'iperf3', '-s', '-p', str(p)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for p in (PORT, PORT + 1)]
    try:
        for _ in range(100):
            if opens(server, PORT): break
            time.sleep(.05)
        else: sys.exit(f'{name}: the flow does not get through')
        if opens(server, PORT + 1) == bool(rules): sys.exit(f'{name}: what no flow allows ' + ('got through' if rules else 'did not get through an empty router'))
        p = within(C, 'iperf3', '-c', server, '-p', str(PORT), '-t', str(A.seconds), '-O', '1', '-J', ok=False)
        if p.returncode: sys.exit(f'{name}: iperf3 {p.returncode}: {p.stdout[-800:]}')
        return json.loads(p.stdout)['end']['sum_received']['bits_per_second'] / 1e9
    finally:
        for d in daemons: d.terminate(); d.wait()

try:
    up(); sizes = sorted(map(int, A.hosts.split(','))); rulesets = {f'{n} hosts': ruleset(n) for n in sizes}
    first = next(iter(rulesets.values())); cases = {'empty': (None, first[1], first[2]), **rulesets}
    got = {name: [] for name in cases}; dice = random.Random(A.seed)
    once('empty', *cases['empty'])  # the first stream warms everything up, and counts for nothing
    for _ in range(A.runs):
        for name in dice.sample(list(cases), len(cases)): got[name].append(once(name, *cases[name]))
    print(f'ruleset\tGbit/s\tmin-max\tof empty\tmin-max\tset elements\t({A.runs} rounds of {A.seconds} s, iperf3 {sh("iperf3", "--version").stdout.split()[1]}, kernel {os.uname().release})')
    for name, speeds in got.items():
        ratios = [100 * mine / empty for mine, empty in zip(speeds, got['empty'])]
        elements = 0 if name == 'empty' else open(cases[name][0]).read().count('comment "a')
        print(f'{name}\t{st.median(speeds):.2f}\t{min(speeds):.2f}-{max(speeds):.2f}\t{st.median(ratios):.1f} %\t{min(ratios):.1f}-{max(ratios):.1f}\t{elements}')
finally:
    for ns in (C, R, S): sh('ip', 'netns', 'del', ns, ok=False)
