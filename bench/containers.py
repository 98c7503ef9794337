#!/usr/bin/env python3
"""H. A plan that finds nothing to do for a host with many containers, beside one for the same host with none in the lab.

  containers.py [--n 10,100] [--runs 9] [--labwright PATH] [--work DIR]

The containers are services of the lab with an image of busybox-static, ten to a stack, each with a volume, a port and an environment; the
engine is a dockerd of the script's own in a network namespace, and its folder is --work. `none` is a plan of one file on that host: what
it takes to start the program, ask the host and answer. The goal for 100 containers is 150 ms on top of that.
`docker inspect` of all of them by the engine's own program stands beside, as what the engine alone takes to tell.
Needs root, dockerd, busybox-static.
"""
import argparse, os, shutil, statistics as st, subprocess, sys, time
from dockerd import Dockerd

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--n', default='10,100'); ap.add_argument('--runs', type=int, default=9)
ap.add_argument('--labwright', default=os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
ap.add_argument('--work', default='/tmp/labwright-bench/work/g')
A = ap.parse_args(); A.labwright = os.path.abspath(A.labwright); W = os.path.abspath(A.work); shutil.rmtree(W, ignore_errors=True); os.makedirs(W + '/img/bin')
IMAGE = '127.0.0.1:1/app:1'; engine = Dockerd(W); ENV = dict(engine.env, LABWRIGHT_STATE_DIR=W + '/state')

def lab(n):
    y = [f'lab: bench\ncompute:\n  docker_hosts: [here]\n  hosts:\n    here: {{ local: true, docker_socket: {engine.socket}, files: {{ {W}/there: {{ content: x }} }} }}']
    if n: y.append('services:')
    for stack in range((n + 9) // 10):
        y.append(f'  s{stack}:\n    on: here\n    containers:')
        for c in range(min(10, n - 10 * stack)):
            y.append(f'      c{c}: {{ image: "{IMAGE}", ports: ["{20000 + 10 * stack + c}:80"], volumes: ["d{c}:/data"], environment: {{ A: b, NUMBER: "{c}" }}, mem_limit: 64m }}')
    open(W + '/lab.yaml', 'w').write('\n'.join(y) + '\n')
def run(*args, ok=(0,)):
    t = time.perf_counter(); p = subprocess.run([A.labwright, *args], cwd=W, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True); t = time.perf_counter() - t
    if p.returncode not in ok: sys.exit(f'{args}: {p.returncode}\n{p.stdout[-3000:]}\n{p.stderr[-3000:]}')
    return t * 1000
def timed(what):
    ms = [what() for _ in range(A.runs)]; return st.median(ms), min(ms), max(ms)

with engine:
    shutil.copy('/bin/busybox', W + '/img/bin/busybox')
    engine.image(IMAGE, 'bin', '["/bin/busybox","sleep","100000"]')
    print('containers\tplan\tmin-max\tnone\ton top\tdocker inspect', flush=True)
    for n in sorted(map(int, A.n.split(','))):
        lab(0); run('apply', '--yes'); none = timed(lambda: run('plan', '--exit-code'))
        lab(n); applied = run('apply', '--yes'); plan = timed(lambda: run('plan', '--exit-code'))
        ids = engine.docker('ps', '-q').split(); assert len(ids) == n, (n, len(ids))
        def inspect():
            t = time.perf_counter(); engine.docker('inspect', *ids); return (time.perf_counter() - t) * 1000
        print(f'{n}\t{plan[0]:.0f}\t{plan[1]:.0f}-{plan[2]:.0f}\t{none[0]:.0f}\t{plan[0] - none[0]:.0f}\t{timed(inspect)[0]:.0f}\t(apply {applied / 1000:.1f} s)', flush=True)
