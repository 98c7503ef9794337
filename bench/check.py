#!/usr/bin/env python3
"""C. `labwright check` of a large lab, beside the limit: one parse of the same file by libyaml (PyYAML's CSafeLoader).

  check.py [--sizes 1,2,5,10] [--runs 7] [--labwright PATH] [--enforce] [--write FOLDER]

Size 1 is 200 hosts, 1,000 services and 5,000 flows; size 10 ten times that, in files of less than 4 MiB. Prints wall clock
and CPU in milliseconds (median, minimum and maximum) and the peak of memory in MiB; then the slowest rules, each with the
median of what `labwright check --timings` says. What several rules share counts for the first that asks.
With --enforce the lab has its firewall enforced, so that the network's matrix is made. --write only writes the first size.
"""
import argparse, os, random, shutil, statistics as st, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--sizes', default='1,2,5,10'); ap.add_argument('--runs', type=int, default=7)
ap.add_argument('--enforce', action='store_true'); ap.add_argument('--write')
ap.add_argument('--labwright', default=os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
A = ap.parse_args()
LIMIT = "import sys, glob, yaml\nfor f in sorted(glob.glob(sys.argv[1] + '/*.yaml')): yaml.load(open(f), Loader=yaml.CSafeLoader)"

def write(folder, size):
    r = random.Random(42); hosts, services, flows = 200 * size, 1000 * size, 5000 * size
    zones = [f'zone-{i}' for i in range(20)]
    with open(f'{folder}/00-lab.yaml', 'w') as f:
        f.write('lab: large\nowner: operator\nnetwork:\n' + ('  firewall: enforce\n' if A.enforce else '') + '  zones:\n')
        for i, zone in enumerate(zones): f.write(f'    {zone}: {{ vlan: {100 + i}, subnet: 10.{i}.0.0/16 }}\n')
        f.write('platform: { dns: [h0, h1], reverse_proxy: h2, monitoring: { on: h3, notify: { phone: "ntfy://ntfy.sh/x" } } }\n')
        f.write('protection:\n  repositories: { nas: { on: h4, path: /backup }, offsite: { url: "s3:https://s3.example.net/x" } }\n'
                '  policies: { nightly: { schedule: "03:15", to: [nas, offsite], keep: { daily: 7, monthly: 6 }, drill: weekly, proof_within: 14d } }\n')
    with open(f'{folder}/10-hosts.yaml', 'w') as f:
        f.write('compute:\n  hosts:\n')
        for i in range(hosts):
            z = i % 20; guest = f', vm: {{ on: h{i % 10}, memory: 2GiB }}' if i >= 20 else ''
            f.write(f'    h{i}: {{ zone: {zones[z]}, address: 10.{z}.{(i // 20) // 250}.{(i // 20) % 250 + 1}{guest} }}\n')
    per = 4000
    for part in range(0, services, per):
        with open(f'{folder}/20-services-{part:06}.yaml', 'w') as f:
            f.write('services:\n')
            for i in range(part, min(part + per, services)):
                needs = [f's{n}' for n in r.sample(range(max(0, i - 50), i), min(i, 2))] if i % 3 else []
                f.write(f'    s{i}: {{ on: h{r.randrange(hosts)}, containers: {{ app: {{ image: "registry.lan/s{i}:1.{i % 9}@sha256:{i:064x}" }} }}, '
                        f'needs: [{", ".join(needs)}], data: [d{i}], backup: nightly, probe: /healthz, restore_notes: restore and start }}\n')
    for part in range(0, flows, 20000):
        with open(f'{folder}/30-flows-{part:06}.yaml', 'w') as f:
            f.write('network:\n  flows:\n')
            for i in range(part, min(part + 20000, flows)):
                f.write(f'    - {{ from: h{r.randrange(hosts)}, to: s{r.randrange(services)}, allow: [{1024 + i % 60000}/tcp] }}\n')

def measure(cmd):
    f = tempfile.NamedTemporaryFile(delete=False); f.close(); t = time.perf_counter()
    p = subprocess.Popen(['/usr/bin/time', '-q', '-f', '%M', '-o', f.name] + cmd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, ru = os.wait4(p.pid, 0); w = time.perf_counter() - t; p.returncode = os.waitstatus_to_exitcode(status)
    kb = int(open(f.name).read().split()[-1]); os.unlink(f.name)
    return w * 1e3, (ru.ru_utime + ru.ru_stime) * 1e3, kb / 1024

def rules(folder):
    spent = {}
    for _ in range(A.runs):
        p = subprocess.run([A.labwright, 'check', '--timings', folder], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in p.stderr.splitlines():
            code, tab, time_spent = line.partition('\t')
            if tab and code.startswith('LW-'): spent.setdefault(code, []).append(float(time_spent.split()[0]))
    return sorted(((st.median(times), code) for code, times in spent.items()), reverse=True)

if A.write:
    os.makedirs(A.write, exist_ok=True); write(A.write, int(A.sizes.split(',')[0])); sys.exit()
print('size\thosts\tservices\tflows\ttool\twall\tmin-max\tcpu\tMiB', flush=True)
for size in map(int, A.sizes.split(',')):
    folder = tempfile.mkdtemp(prefix='labwright-check-')
    try:
        write(folder, size)
        for name, cmd in (('labwright check', [A.labwright, 'check', folder]), ('one parse (libyaml)', [sys.executable, '-c', LIMIT, folder])):
            ms = [measure(cmd) for _ in range(A.runs)]
            m = lambda j: st.median(x[j] for x in ms)
            print(f'{size}\t{200 * size}\t{1000 * size}\t{5000 * size}\t{name}\t{m(0):.0f}\t{min(x[0] for x in ms):.0f}-{max(x[0] for x in ms):.0f}\t{m(1):.0f}\t{m(2):.0f}', flush=True)
        slowest = rules(folder)
        print(f'size {size}, rules: ' + ', '.join(f'{code} {ms:.2f} ms' for ms, code in slowest[:6]) + f'; {len(slowest)} in all {sum(ms for ms, _ in slowest):.1f} ms', flush=True)
    finally:
        shutil.rmtree(folder)
