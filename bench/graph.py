#!/usr/bin/env python3
"""A. Plan/apply graph engine: terraform (builtin terraform_data only) vs. a floor vs. an optional 'ours'.

One layered dependency graph of N resources (10 layers, each resource refers to <=3 of the previous layer) is
written as HCL (main.tf) and, for anybody else, as JSON (graph.json; graph-changed.json has 1% of inputs changed).

  a_graph.py [--n 100,1000,5000] [--runs 5] [--ops plan,apply,noop,change] [--ours CMD]

--ours CMD runs by `sh -c` once per timed step with these variables:
  Without it: the release binary of this repository (or LABWRIGHT), started as directly as Terraform is, on the same graph
  as a lab of files on this machine: see lab() and labwright().
  OP     plan   = plan against an empty state (must print/know what it would create)
         apply  = apply everything from an empty state (state written, crash-safe as ours promises)
         noop   = plan against the complete state, nothing changed
         change = plan against the complete state with graph-changed.json
  GRAPH  path of the graph JSON for this OP        STATE  path (file/dir name) this tool may use as its state
  N      number of resources
Before 'plan' and 'apply' STATE does not exist; before 'noop'/'change' it is what the last 'apply' left.
'floor' = a ~60-line Rust program: read graph JSON + state JSON (serde_json), toposort, diff, write state + fsync.
"""
import argparse, json, os, random, shutil, statistics as st, subprocess, sys, tempfile, time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--n', default='100,1000,5000'); ap.add_argument('--runs', type=int, default=5)
ap.add_argument('--ops', default='plan,apply,noop,noop-norefresh,change'); ap.add_argument('--ours')
ap.add_argument('--terraform', default='terraform'); ap.add_argument('--no-terraform', action='store_true')
ap.add_argument('--work', default='/tmp/labwright-bench/work/a'); ap.add_argument('--timeout', type=int, default=900)
ap.add_argument('--out', default='/tmp/labwright-bench/out/a.tsv'); ap.add_argument('--big-applies', type=int, default=1, help='terraform applies when N > 300 (they take minutes)'); ap.add_argument('--max-apply', type=int, default=2000, help='above this N terraform does not apply: its state is written by this script')
A = ap.parse_args()
LAYERS = 10
ENV = dict(os.environ, CHECKPOINT_DISABLE='1', TF_IN_AUTOMATION='1', TF_CLI_CONFIG_FILE='/dev/null')

def measure(cmd, env=None, cwd=None):
    """(wall s, user+sys s, peak MiB of the largest process, rc); whole process tree that was waited for"""
    f = tempfile.NamedTemporaryFile(delete=False); f.close()
    t = time.perf_counter()
    p = subprocess.Popen(['/usr/bin/time', '-q', '-f', '%M', '-o', f.name] + cmd, env=env, cwd=cwd,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = p.stderr.read()
    _, status, ru = os.wait4(p.pid, 0); w = time.perf_counter() - t; p.returncode = os.waitstatus_to_exitcode(status)
    kb = int(open(f.name).read().split()[-1]); os.unlink(f.name)
    if p.returncode not in (0, 2): sys.stderr.write(f'rc={p.returncode} {cmd[:4]}: {err[-300:]!r}\n')
    return w, ru.ru_utime + ru.ru_stime, kb / 1024, p.returncode

def graph(n):
    r = random.Random(42); per = n // LAYERS; g = []
    for i in range(n):
        l = min(i // per, LAYERS - 1); deps = []
        if l:   # neighbours in the layer below (stacks), so that a resource's transitive closure does not grow with N
            c = i - l * per; lo, hi = max(0, min(c, per - 1) - 2), min(per, c + 3); lo = min(lo, per - 1)
            deps = sorted((l - 1) * per + x for x in r.sample(range(lo, max(hi, lo + 1)), min(max(hi, lo + 1) - lo, r.randint(1, 3))))
        g.append({'name': f'r{i}', 'deps': [f'r{d}' for d in deps], 'input': {'image': f'registry.lan/svc{i}:1.{i % 7}',
                  'port': 1024 + i, 'env': {'A': f'a{i}', 'B': 'b' * 20, 'C': str(i)}, 'host': f'h{i % 8}'}})
    return g

def hcl(g):
    o = []
    for x in g:
        i = x['input']; up = ', '.join(f'terraform_data.{d}.output.port' for d in x['deps'])
        o.append(f'resource "terraform_data" "{x["name"]}" {{\n  input = {{\n    image = "{i["image"]}"\n    port = {i["port"]}\n'
                 f'    env = {{ A = "{i["env"]["A"]}", B = "{i["env"]["B"]}", C = "{i["env"]["C"]}" }}\n    host = "{i["host"]}"\n'
                 f'    up = [{up}]\n  }}\n}}\n')
    return ''.join(o)

def tfstate(g):
    """the state terraform apply would leave (used where its quadratic apply is too slow to wait for); a no-op plan must be empty"""
    clo, ty = {}, {}
    for x in g: clo[x['name']] = set(x['deps']).union(*(clo[d] for d in x['deps']))
    res = []
    for k, x in enumerate(g):
        i = dict(x['input']); port = {y: None for y in x['deps']}
        i['up'] = [1024 + int(d[1:]) for d in x['deps']]
        t = ['object', {'env': ['object', {'A': 'string', 'B': 'string', 'C': 'string'}], 'host': 'string', 'image': 'string', 'port': 'number', 'up': ['tuple', ['number'] * len(i['up'])]}]
        a = {'value': i, 'type': t}
        inst = {'schema_version': 0, 'attributes': {'id': f'{k:08x}-0000-4000-8000-{k:012x}', 'input': a, 'output': a, 'triggers_replace': None}, 'sensitive_attributes': [], 'identity_schema_version': 0}
        if clo[x['name']]: inst['dependencies'] = sorted('terraform_data.' + d for d in clo[x['name']])
        res.append({'mode': 'managed', 'type': 'terraform_data', 'name': x['name'], 'provider': 'provider["terraform.io/builtin/terraform"]', 'instances': [inst]})
    return json.dumps({'version': 4, 'terraform_version': '1.11.4', 'serial': 1, 'lineage': '00000000-0000-4000-8000-000000000000', 'outputs': {}, 'resources': sorted(res, key=lambda r: r['name']), 'check_results': None}, indent=2)

def lab(g, path, root):
    """The same graph for labwright: a file for each resource, with what it depends on in its content and in `after`.
    More work than terraform_data, which only writes its state: each of these is a real file as well."""
    o = [f'lab: bench\ncompute:\n  hosts:\n    here:\n      local: true\n      directories:\n        {root}: {{}}\n      files:\n']
    for x in g:
        i = dict(x['input'], up=[1024 + int(d[1:]) for d in x['deps']])
        after = f', after: [{", ".join(root + "/" + d for d in x["deps"])}]' if x['deps'] else ''
        o.append(f'        {root}/{x["name"]}: {{ content: {json.dumps(json.dumps(i))}{after} }}\n')
    open(path, 'w').write(''.join(o))

def labwright(op, graph, state):
    """What starts one timed step, and what it needs to know."""
    os.makedirs(state, exist_ok=True)
    binary = os.environ.get('LABWRIGHT', os.path.dirname(os.path.abspath(__file__)) + '/../target/release/labwright')
    verb = {'apply': ['apply', '--yes'], 'noop': ['plan', '--exit-code']}.get(op, ['plan', '--full'])
    return [binary] + verb + [graph[:-len('.json')] + '.yaml'], {'LABWRIGHT_STATE_DIR': state + '/labwright'}

FLOOR = r'''
use serde_json::{Value, Map, json}; use std::{collections::HashMap, fs, io::Write, env};
fn main() {
  let op = env::var("OP").unwrap(); let g: Vec<Value> = serde_json::from_slice(&fs::read(env::var("GRAPH").unwrap()).unwrap()).unwrap();
  let sp = env::var("STATE").unwrap();
  let state: Map<String, Value> = fs::read(&sp).ok().map(|b| serde_json::from_slice(&b).unwrap()).unwrap_or_default();
  let ix: HashMap<&str, usize> = g.iter().enumerate().map(|(i, x)| (x["name"].as_str().unwrap(), i)).collect();
  let n = g.len(); let mut indeg = vec![0usize; n]; let mut out = vec![vec![]; n];
  for (i, x) in g.iter().enumerate() { for d in x["deps"].as_array().unwrap() { out[ix[d.as_str().unwrap()]].push(i); indeg[i] += 1; } }
  let mut q: Vec<usize> = (0..n).filter(|&i| indeg[i] == 0).collect(); let mut k = 0; let mut o = String::new(); let mut changes = 0;
  let mut new = Map::new();
  while k < q.len() { let i = q[k]; k += 1; let x = &g[i]; let name = x["name"].as_str().unwrap();
    let mut want = x["input"].clone();
    want["up"] = Value::Array(x["deps"].as_array().unwrap().iter().map(|d| g[ix[d.as_str().unwrap()]]["input"]["port"].clone()).collect());
    let same = state.get(name).map_or(false, |s| s["input"] == want);
    if !same { changes += 1; o.push_str("  + "); o.push_str(name); o.push(' '); o.push_str(&want.to_string()); o.push('\n'); }
    if op == "apply" { new.insert(name.into(), json!({"input": want.clone(), "output": want, "id": format!("{:032x}", (i as u128 + 7) * 0x9E3779B97F4A7C15u128)})); }
    for &j in &out[i] { indeg[j] -= 1; if indeg[j] == 0 { q.push(j) } } }
  assert_eq!(q.len(), n); print!("{o}Plan: {changes} of {n}\n");
  if op == "apply" { let t = format!("{sp}.tmp"); let mut f = fs::File::create(&t).unwrap(); f.write_all(&serde_json::to_vec(&new).unwrap()).unwrap(); f.sync_all().unwrap(); fs::rename(t, sp).unwrap(); }
}
'''
def build_floor():
    d = '/tmp/labwright-bench/work/floor-graph'; b = d + '/target/release/floor'
    if os.path.exists(b): return b
    os.makedirs(d + '/src', exist_ok=True); open(d + '/src/main.rs', 'w').write(FLOOR)
    open(d + '/Cargo.toml', 'w').write('[package]\nname="floor"\nversion="0.1.0"\nedition="2021"\n[dependencies]\nserde_json="1"\n[profile.release]\nlto=true\n')
    subprocess.run(['cargo', 'build', '-q', '--release'], cwd=d, check=True); return b

def rm(p):
    if os.path.isdir(p): shutil.rmtree(p)
    elif os.path.exists(p): os.unlink(p)

floor = build_floor(); rows = []
ov = [measure(['/bin/true']) for _ in range(20)]
print(f'# harness overhead (/bin/true): wall {st.median(x[0] for x in ov)*1e3:.1f} ms, cpu {st.median(x[1] for x in ov)*1e3:.1f} ms', flush=True)
for n in map(int, A.n.split(',')):
    d = f'{A.work}/{n}'; rm(d); os.makedirs(d + '/tf')
    g = graph(n); g2 = json.loads(json.dumps(g))
    for i in range(0, n, 100): g2[i]['input']['image'] += '-new'
    json.dump(g, open(d + '/graph.json', 'w')); json.dump(g2, open(d + '/graph-changed.json', 'w'))
    for name, x in (('graph', g), ('graph-changed', g2)): lab(x, f'{d}/{name}.yaml', d + '/state-ours/things')
    T = d + '/tf'; tf = A.terraform
    open(T + '/main.tf', 'w').write(hcl(g))
    if not A.no_terraform: subprocess.run([tf, 'init', '-input=false'], cwd=T, env=ENV, check=True, stdout=subprocess.DEVNULL)
    state = T + '/terraform.tfstate'; res = {}
    tools = {'floor': floor, 'ours': A.ours}
    for op in A.ops.split(','):
        for k in range(A.runs):
            if not A.no_terraform and not (op == 'apply' and (n > A.max_apply or n > 300 and k >= A.big_applies)):
                if op == 'plan':
                    for s in (state, state + '.backup'): rm(s)
                    c = ['plan', '-input=false', '-no-color']
                elif op == 'apply':
                    for s in (state, state + '.backup'): rm(s)
                    c = ['apply', '-auto-approve', '-input=false', '-no-color']
                if op in ('noop', 'noop-norefresh', 'change') and n > A.max_apply: open(state, 'w').write(tfstate(g))
                if op == 'noop': c = ['plan', '-input=false', '-no-color', '-detailed-exitcode']
                elif op == 'noop-norefresh': c = ['plan', '-input=false', '-no-color', '-refresh=false']
                elif op == 'change':
                    open(T + '/main.tf', 'w').write(hcl(g2)); c = ['plan', '-input=false', '-no-color']
                m = measure(['timeout', str(A.timeout), tf] + c, ENV, T); res.setdefault((op, 'terraform'), []).append(m)
                if op == 'change': open(T + '/main.tf', 'w').write(hcl(g))
                if op == 'noop' and m[3] != 0: sys.stderr.write('terraform noop plan was not empty!\n')
            for name, cmd in tools.items():
                S = f'{d}/state-{name}'; o = op.split('-')[0]
                if o in ('plan', 'apply'): rm(S)
                if op == 'noop-norefresh': continue
                e = dict(os.environ, OP=o, STATE=S, N=str(n), GRAPH=d + ('/graph-changed.json' if o == 'change' else '/graph.json'))
                if name == 'floor': start = [cmd]
                elif cmd: start = ['sh', '-c', cmd]
                else:
                    start, more = labwright(o, e['GRAPH'], S); e.update(more)
                res.setdefault((op, name), []).append(measure(start, e))
    sz = os.path.getsize(state) if os.path.exists(state) else 0
    for (op, name), ms in res.items():
        f = lambda j: (st.median(x[j] for x in ms), min(x[j] for x in ms), max(x[j] for x in ms))
        w, c, r = f(0), f(1), f(2)
        line = (n, op, name, len(ms), f'{w[0]:.3f}', f'{w[1]:.3f}-{w[2]:.3f}', f'{c[0]:.3f}', f'{c[1]:.3f}-{c[2]:.3f}', f'{r[0]:.0f}')
        rows.append(line); print('\t'.join(map(str, line)), flush=True)
    print(f'# N={n}: main.tf {os.path.getsize(T + "/main.tf")} B, tfstate {sz} B, graph.json {os.path.getsize(d + "/graph.json")} B', flush=True)
os.makedirs(os.path.dirname(A.out), exist_ok=True)
with open(A.out, 'w') as f:
    f.write('N\top\ttool\truns\twall_med\twall_min-max\tcpu_med\tcpu_min-max\tpeak_MiB\n')
    for r in rows: f.write('\t'.join(map(str, r)) + '\n')
print(subprocess.run(['column', '-t', '-s', '\t', A.out], capture_output=True, text=True).stdout)
