#!/usr/bin/env python3
"""B. Host configuration over SSH: ansible-core, pyinfra, plain ssh scripts (the near-physical limit), optional 'ours'.

Makes H sshd 'hosts': each its own network namespace + veth on one bridge + pid/mount namespace with an overlay of / on
tmpfs (so users, /etc and /srv are the host's own), own host key, key auth. Task set T per host (145 resources):
5 groups, 5 users, 20 directories, 100 files (1 KiB, content+mode+owner), 5 symlinks, 10 unit files.
Every first apply is checked (stat + sha256 of everything) and every second apply must not change an mtime.

  b_ssh.py [--hosts 1,5,10] [--runs 3] [--tools ssh-true,ssh-script,ssh-tar,ssh-warm,ansible,ansible-nocp,ansible-pipe,pyinfra]
           [--rtt-ms 20] [--ours CMD]

--ours CMD runs by `sh -c` with: PHASE (first|second), SPEC (JSON: hosts + resources wanted),
  SSH_CONFIG (ssh_config with the hosts h0..hN), INVENTORY (names, one a line), STATE (a directory kept first->second).
Columns: ctl = controller CPU s (whole tree, cgroup), rem = CPU s on all hosts (cgroup), conn = ssh connections,
chan = ssh channels (exec/sftp), pkts = packets into the hosts, all summed over hosts.
"""
import argparse, asyncio, atexit, glob, hashlib, json, os, re, shutil, statistics as st, subprocess, sys, tempfile, threading, time
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument('--hosts', default='1,5,10'); ap.add_argument('--runs', type=int, default=3)
ap.add_argument('--tools', default='ssh-true,ssh-script,ssh-tar,ssh-warm,ansible,ansible-pipe,pyinfra'); ap.add_argument('--ours', default=os.path.dirname(os.path.abspath(__file__)) + '/ssh-ours')
ap.add_argument('--rtt-ms', type=float, default=0); ap.add_argument('--venv', default='/tmp/labwright-bench/venv/bin')
ap.add_argument('--work', default='/tmp/labwright-bench/work/b'); ap.add_argument('--out', default='/tmp/labwright-bench/out/b.tsv')
ap.add_argument('--timeout', type=int, default=1500)
A = ap.parse_args()
W = A.work; HR = '/tmp/labwright-bench/hosts'; BR = 'lwbr0'; CG = '/sys/fs/cgroup/cpuacct'
sh = lambda c, **k: subprocess.run(['sh', '-c', c], check=k.pop('check', True), capture_output=True, text=True, **k)

# ---------- hosts
def down(n=16):
    for i in range(n):
        try: pid = int(open(f'{W}/host{i}.pid').read())
        except OSError: continue
        try:
            if f'perf-host-{i}' in open(f'/proc/{pid}/environ').read(): os.kill(pid, 9)
        except OSError: pass
        os.unlink(f'{W}/host{i}.pid')
    time.sleep(.3)
    for i in range(n): sh(f'ip netns del lwh{i} 2>/dev/null', check=False)
    sh(f'ip link del {BR} 2>/dev/null; mountpoint -q {HR} && umount -R {HR}', check=False)
procs = []
def up(n):
    os.makedirs(HR, exist_ok=True); os.makedirs(W, exist_ok=True)
    sh(f'mount -t tmpfs -o size=3g tmpfs {HR}; ip link add {BR} type bridge; ip addr add 10.77.0.1/24 dev {BR}; ip link set {BR} up; mkdir -p {CG}/perf-hosts {CG}/perf-ctl')
    if not os.path.exists(W + '/id'): sh(f'ssh-keygen -q -t ed25519 -N "" -f {W}/id')
    kh, cf = [], []
    for i in range(n):
        d = f'{HR}/{i}'; ip = f'10.77.0.{10+i}'
        sh(f'mkdir -p {d}/u {d}/w {d}/m; ip netns add lwh{i}; ip link add lwv{i} type veth peer name eth0 netns lwh{i}; ip link set lwv{i} master {BR} up; '
           f'ip -n lwh{i} addr add {ip}/24 dev eth0; ip -n lwh{i} link set eth0 up; ip -n lwh{i} link set lo up')
        if not os.path.exists(f'{W}/hk{i}'): sh(f'ssh-keygen -q -t ed25519 -N "" -f {W}/hk{i}')
        kh.append(f'{ip} ' + open(f'{W}/hk{i}.pub').read().strip())
        open(f'{W}/sshd{i}', 'w').write(f'Port 22\nListenAddress {ip}\nHostKey {W}/hk{i}\nAuthorizedKeysFile {W}/id.pub\nStrictModes no\n'
            'PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nLogLevel VERBOSE\nMaxStartups 200\nMaxSessions 200\nSubsystem sftp internal-sftp\nPidFile none\n')
        run = (f'echo $$ > {CG}/perf-hosts/tasks; exec ip netns exec lwh{i} unshare --mount --pid --uts --fork --kill-child sh -c "'
               f'mount -t overlay overlay -o lowerdir=/,upperdir={d}/u,workdir={d}/w {d}/m && cd {d}/m && hostname h{i} && rm -f root/.bash* root/.profile root/.ssh/rc && cp usr/share/base-files/dot.bashrc root/.bashrc && cp usr/share/base-files/dot.profile root/.profile && '
               f'mount -t proc proc proc && mount --rbind /dev dev && mount --bind {W} .{W} && mkdir -p run/sshd && exec chroot . /usr/sbin/sshd -D -e -f {W}/sshd{i}"')
        os.makedirs(W, exist_ok=True)
        p = subprocess.Popen(['sh', '-c', run], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(f'{W}/sshd{i}.log', 'w'),
                             env=dict(os.environ, MARK=f'perf-host-{i}'))
        procs.append(p); open(f'{W}/host{i}.pid', 'w').write(str(p.pid))
        cf.append((f'h{i}', ip, 22))
    if A.rtt_ms: cf = [(h, '127.0.0.1', delay_proxy(ip, p)) for h, ip, p in cf]; kh = [re.sub(r'^\S+', f'[127.0.0.1]:{c[2]}', k) for k, c in zip(kh, cf)]
    open(W + '/known_hosts', 'w').write('\n'.join(kh) + '\n')
    open(W + '/ssh_config', 'w').write('\n'.join(f'Host {h}\n  HostName {ip}\n  Port {p}' for h, ip, p in cf) +
        f'\nHost *\n  User root\n  IdentityFile {W}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {W}/known_hosts\n  StrictHostKeyChecking yes\n')
    open(W + '/names', 'w').write(''.join(f'h{i}\n' for i in range(n)))
    for i in range(n):
        for _ in range(100):
            if subprocess.run(['ssh', '-F', W + '/ssh_config', f'h{i}', 'true'], capture_output=True).returncode == 0: break
            time.sleep(.1)
        else: sys.exit(f'host {i} does not answer: ' + open(f'{W}/sshd{i}.log').read()[-500:])

loop = None
def delay_proxy(ip, port):
    """a TCP relay that holds every chunk rtt/2 in each direction (no netem in this kernel)"""
    global loop
    if loop is None:
        loop = asyncio.new_event_loop(); threading.Thread(target=loop.run_forever, daemon=True).start()
    half = A.rtt_ms / 2000
    async def pump(r, w):
        q = asyncio.Queue()
        async def out():
            while True:
                t, b = await q.get(); d = t - loop.time()
                if d > 0: await asyncio.sleep(d)
                if not b: w.close(); return
                w.write(b)
        o = asyncio.create_task(out())
        try:
            while True:
                b = await r.read(65536); q.put_nowait((loop.time() + half, b))
                if not b: break
        except OSError: q.put_nowait((0, b''))
        await o
    async def conn(r, w):
        await asyncio.sleep(A.rtt_ms / 1000)
        r2, w2 = await asyncio.open_connection(ip, port); await asyncio.gather(pump(r, w2), pump(r2, w), return_exceptions=True)
    return asyncio.run_coroutine_threadsafe(asyncio.start_server(conn, '127.0.0.1', 0), loop).result().sockets[0].getsockname()[1]

# ---------- wanted state
def content(h, i): return (f'# file {i} of h{h}\n' + hashlib.sha256(f'{h}/{i}'.encode()).hexdigest() * 16)[:1023] + '\n'
unit = lambda h, i: f'[Unit]\nDescription=lw {h} {i}\n[Service]\nExecStart=/bin/sleep {1000+i}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n'
def spec(n):
    return {'hosts': {f'h{h}': {
        'groups': [{'name': f'lwg{i}', 'gid': 7100 + i} for i in range(5)],
        'users': [{'name': f'lwu{i}', 'uid': 7100 + i, 'group': f'lwg{i}', 'shell': '/usr/sbin/nologin', 'home': '/nonexistent'} for i in range(5)],
        'dirs': [{'path': '/srv/lw', 'mode': '0755', 'owner': 'root', 'group': 'root'}] * 0 + [{'path': f'/srv/lw/d{i:02}', 'mode': '0750', 'owner': f'lwu{i%5}', 'group': f'lwg{i%5}'} for i in range(20)],
        'files': [{'path': f'/srv/lw/d{i%20:02}/f{i:03}', 'mode': '0640', 'owner': f'lwu{i%5}', 'group': f'lwg{i%5}', 'content': content(h, i)} for i in range(100)],
        'links': [{'path': f'/srv/lw/l{i}', 'target': f'/srv/lw/d{i:02}'} for i in range(5)],
        'units': [{'path': f'/etc/systemd/system/lw-svc{i}.service', 'mode': '0644', 'owner': 'root', 'group': 'root', 'content': unit(h, i)} for i in range(10)],
    } for h in range(n)}}
def write_inputs(n):
    S = spec(n); json.dump(S, open(W + '/spec.json', 'w'))
    for h, s in S['hosts'].items():
        d = f'{W}/in/{h}'; shutil.rmtree(d, ignore_errors=True); os.makedirs(d + '/files'); os.makedirs(d + '/units')
        q = []; users = ''.join(f"getent group {g['name']} >/dev/null || groupadd -g {g['gid']} {g['name']}\n" for g in s['groups']) + ''.join(
            f"getent passwd {u['name']} >/dev/null || useradd -M -d {u['home']} -s {u['shell']} -u {u['uid']} -g {u['group']} {u['name']}\n" for u in s['users'])
        q.append('set -e\n' + users + 'mkdir -p /srv/lw\n')
        for x in s['dirs']: q.append(f"mkdir -p {x['path']}; chown {x['owner']}:{x['group']} {x['path']}; chmod {x['mode']} {x['path']}\n")
        for x in s['files'] + s['units']:
            q.append(f"cat > {x['path']} <<'E-O-F'\n{x['content']}E-O-F\nchown {x['owner']}:{x['group']} {x['path']}; chmod {x['mode']} {x['path']}\n")
        for x in s['links']: q.append(f"ln -sfn {x['target']} {x['path']}\n")
        open(d + '/first.sh', 'w').write(''.join(q))
        # tar with the owners' numeric ids
        import tarfile, io
        T = tarfile.open(d + '/tree.tar', 'w'); ids = {u['name']: u['uid'] for u in s['users']} | {g['name']: g['gid'] for g in s['groups']} | {'root': 0}
        for kind in ('dirs', 'files', 'units', 'links'):
            for x in s[kind]:
                t = tarfile.TarInfo(x['path'].lstrip('/')); t.mtime = 1700000000
                if kind == 'links': t.type = tarfile.SYMTYPE; t.linkname = x['target']; T.addfile(t); continue
                t.mode = int(x['mode'], 8); t.uid, t.gid = ids[x['owner']], ids[x['group']]
                if kind == 'dirs': t.type = tarfile.DIRTYPE; T.addfile(t); continue
                b = x['content'].encode(); t.size = len(b); T.addfile(t, io.BytesIO(b))
        T.close(); open(d + '/users.sh', 'w').write('set -e\n' + users)
        # check script: one stat, one sha256sum, one getent
        paths = [x['path'] for k in ('dirs', 'files', 'units', 'links') for x in s[k]]
        exp = ''.join(f"{x['path']} {int(x['mode'],8):o} {x['owner']}:{x['group']}\n" for k in ('dirs', 'files', 'units') for x in s[k]) + ''.join(f"{x['path']} 777 root:root\n" for x in s['links'])
        sums = ''.join(f"{hashlib.sha256(x['content'].encode()).hexdigest()}  {x['path']}\n" for k in ('files', 'units') for x in s[k])
        lk = ' '.join(x['target'] for x in s['links'])
        open(d + '/check.sh', 'w').write(
            "set -e\ngetent passwd " + ' '.join(u['name'] for u in s['users']) + ' >/dev/null\ngetent group ' + ' '.join(g['name'] for g in s['groups']) +
            " >/dev/null\nstat -c '%n %a %U:%G' " + ' '.join(paths) + " | cmp -s - /dev/fd/3 3<<'E-O-F'\n" + exp + "E-O-F\nsha256sum -c --quiet <<'E-O-F' >/dev/null\n" + sums +
            f"E-O-F\n[ \"$(echo $(readlink {' '.join(x['path'] for x in s['links'])}))\" = '{lk}' ]\n")
        open(d + '/mtimes.sh', 'w').write('stat -c "%n %y %i" ' + ' '.join(paths) + '\n')
        open(d + '/reset.sh', 'w').write('rm -rf /var/lib/labwright /srv/lw /etc/systemd/system/lw-svc*\n' + ''.join(f"userdel {u['name']} 2>/dev/null\n" for u in s['users']) + ''.join(f"groupdel {g['name']} 2>/dev/null\n" for g in s['groups']) + 'true\n')
        for x in s['files']: open(f"{d}/files/{os.path.basename(x['path'])}", 'w').write(x['content'])
        for x in s['units']: open(f"{d}/units/{os.path.basename(x['path'])}", 'w').write(x['content'])
    # labwright
    L = ['lab: bench\ncompute:\n  hosts:\n']
    for h, s in S['hosts'].items():
        own = lambda x: f"mode: '{x['mode']}', owner: {x['owner']}, group: {x['group']}"
        L.append(f'    {h}:\n      groups:\n' + ''.join(f"        {g['name']}: {{ gid: {g['gid']} }}\n" for g in s['groups']))
        L.append('      users:\n' + ''.join(f"        {u['name']}: {{ uid: {u['uid']}, group: {u['group']}, shell: {u['shell']}, home: {u['home']}, create_home: false }}\n" for u in s['users']))
        L.append('      directories:\n        /srv/lw: {}\n' + ''.join(f"        {x['path']}: {{ {own(x)} }}\n" for x in s['dirs']))
        L.append('      files:\n' + ''.join(f"        {x['path']}: {{ content: {json.dumps(x['content'])}, {own(x)} }}\n" for x in s['files'] + s['units']))
        L.append('      symlinks:\n' + ''.join(f"        {x['path']}: {x['target']}\n" for x in s['links']))
    open(W + '/lab.yaml', 'w').write(''.join(L))
    # ansible
    open(W + '/ansible.cfg', 'w').write('[defaults]\n')
    open(W + '/inv.ini', 'w').write('[all]\n' + ''.join(f'{h}\n' for h in S['hosts']))
    L = lambda seq: json.dumps(list(seq)); s = S['hosts']['h0']
    yml = f'''- hosts: all
  gather_facts: false
  vars: {{ ansible_python_interpreter: /usr/bin/python3, in: "{W}/in/{{{{ inventory_hostname }}}}" }}
  tasks:
  - group: {{ name: "{{{{ item.name }}}}", gid: "{{{{ item.gid }}}}" }}
    loop: {L(s['groups'])}
  - user: {{ name: "{{{{ item.name }}}}", uid: "{{{{ item.uid }}}}", group: "{{{{ item.group }}}}", shell: "{{{{ item.shell }}}}", home: "{{{{ item.home }}}}", create_home: false }}
    loop: {L(s['users'])}
  - file: {{ state: directory, path: "{{{{ item.path }}}}", mode: "{{{{ item.mode }}}}", owner: "{{{{ item.owner }}}}", group: "{{{{ item.group }}}}" }}
    loop: {L(s['dirs'])}
  - copy: {{ src: "{{{{ in }}}}/files/{{{{ item.path | basename }}}}", dest: "{{{{ item.path }}}}", mode: "{{{{ item.mode }}}}", owner: "{{{{ item.owner }}}}", group: "{{{{ item.group }}}}" }}
    loop: {L({k: v for k, v in x.items() if k != 'content'} for x in s['files'])}
  - file: {{ state: link, path: "{{{{ item.path }}}}", src: "{{{{ item.target }}}}" }}
    loop: {L(s['links'])}
  - copy: {{ src: "{{{{ in }}}}/units/{{{{ item.path | basename }}}}", dest: "{{{{ item.path }}}}", mode: "{{{{ item.mode }}}}", owner: root, group: root }}
    loop: {L({k: v for k, v in x.items() if k != 'content'} for x in s['units'])}
'''.replace(' in: ', ' indir: ').replace('{{ in }}', '{{ indir }}')
    open(W + '/play.yml', 'w').write(yml)
    # pyinfra
    open(W + '/inventory.py', 'w').write(f'h = {list(S["hosts"])!r}\nhosts = [(x, {{"ssh_config_file": "{W}/ssh_config", "ssh_known_hosts_file": "{W}/known_hosts", "ssh_strict_host_key_checking": "yes", "ssh_user": "root", "ssh_key": "{W}/id"}}) for x in h]\n')
    open(W + '/deploy.py', 'w').write(f'''import json
from pyinfra import host
from pyinfra.operations import files, server
s = json.load(open("{W}/spec.json"))["hosts"][host.name]; d = "{W}/in/" + host.name
for g in s["groups"]: server.group(name="group " + g["name"], group=g["name"], gid=g["gid"])
for u in s["users"]: server.user(name="user " + u["name"], user=u["name"], uid=u["uid"], group=u["group"], shell=u["shell"], home=u["home"], ensure_home=False, create_home=False)
for x in s["dirs"]: files.directory(name="dir " + x["path"], path=x["path"], mode=x["mode"].lstrip("0"), user=x["owner"], group=x["group"])
for x in s["files"]: files.put(name="put " + x["path"], src=d + "/files/" + x["path"].split("/")[-1], dest=x["path"], mode=x["mode"].lstrip("0"), user=x["owner"], group=x["group"])
for x in s["links"]: files.link(name="link " + x["path"], path=x["path"], target=x["target"])
for x in s["units"]: files.put(name="unit " + x["path"], src=d + "/units/" + x["path"].split("/")[-1], dest=x["path"], mode="644", user="root", group="root")
''')

# ---------- tools: shell command per phase
F = f'-F {W}/ssh_config'
par = lambda body: f'for h in $(cat {W}/names); do ( {body} ) & P="$P $!"; done; r=0; for p in $P; do wait $p || r=1; done; exit $r'
def ansible(args, extra=''):
    c = (f'ANSIBLE_CONFIG={W}/ansible.cfg ANSIBLE_FORKS=10 ANSIBLE_SSH_ARGS="{args}" {extra} ANSIBLE_SSH_CONTROL_PATH_DIR={W}/cp ANSIBLE_LOCAL_TEMP={W}/atmp ANSIBLE_HOME={W}/ahome '
         f'{A.venv}/ansible-playbook -i {W}/inv.ini --ssh-common-args "-F {W}/ssh_config" {W}/play.yml')
    return {'first': c, 'second': c}
TOOLS = {
  'ssh-true':   {'first': par(f'ssh {F} $h true'), 'second': par(f'ssh {F} $h true')},
  'ssh-script': {'first': par(f'ssh {F} $h sh < {W}/in/$h/first.sh'), 'second': par(f'ssh {F} $h sh < {W}/in/$h/check.sh')},
  'ssh-tar':    {'first': par(f'ssh {F} $h "$(cat {W}/in/$h/users.sh); mkdir -p /srv/lw; tar xpf - -C / --numeric-owner" < {W}/in/$h/tree.tar'), 'second': par(f'ssh {F} $h sh < {W}/in/$h/check.sh')},
  'ssh-warm':   {'pre': par(f'ssh {F} -o ControlMaster=auto -o ControlPersist=60s -o ControlPath={W}/cp/w%n $h sh < {W}/in/$h/first.sh'), 'first': par(f'ssh {F} -o ControlPath={W}/cp/w%n $h sh < {W}/in/$h/check.sh'),
                 'second': par(f'ssh {F} -o ControlPath={W}/cp/w%n $h sh < {W}/in/$h/check.sh')},   # the check over a connection that is already open
  'ansible':    ansible('-C -o ControlMaster=auto -o ControlPersist=60s'),
  'ansible-nocp': ansible('-o ControlMaster=no'),
  'ansible-pipe': ansible('-o ControlMaster=auto -o ControlPersist=60s', 'ANSIBLE_PIPELINING=1'),
  'pyinfra':    {p: f'cd {W} && {A.venv}/pyinfra -y inventory.py deploy.py' for p in ('first', 'second')},
}
if A.ours: TOOLS['ours'] = {'first': A.ours, 'second': A.ours}
def cpu(g): return int(open(f'{CG}/{g}/cpuacct.usage').read()) / 1e9
def net(n): return sum(int(open(f'/sys/class/net/lwv{i}/statistics/tx_packets').read()) for i in range(n))
def logs(n, pat): return sum(len(re.findall(pat, open(f'{W}/sshd{i}.log').read())) for i in range(n))
def close_masters():
    for s in glob.glob(W + '/cp/*'): subprocess.run(['ssh', '-o', f'ControlPath={s}', '-O', 'exit', 'x'], capture_output=True)
def each(n, script):
    return [subprocess.run(['ssh', '-F', W + '/ssh_config', f'h{i}', 'sh'], stdin=open(f'{W}/in/h{i}/{script}'), capture_output=True, text=True) for i in range(n)]
def timed(cmd, n, env):
    f = tempfile.NamedTemporaryFile(delete=False); f.close(); time.sleep(.3)
    a = (cpu('perf-ctl'), cpu('perf-hosts'), logs(n, 'Accepted publickey'), logs(n, 'Starting session'), net(n)); t = time.perf_counter()
    p = subprocess.run(['sh', '-c', f'echo $$ > {CG}/perf-ctl/tasks; exec /usr/bin/time -q -f %M -o {f.name} timeout {A.timeout} sh -c "$0"', cmd], stdin=subprocess.DEVNULL,
                       stdout=open(W + '/last.out', 'w'), stderr=subprocess.STDOUT, env=dict(os.environ, **env))
    w = time.perf_counter() - t; close_masters(); time.sleep(.4)
    b = (cpu('perf-ctl'), cpu('perf-hosts'), logs(n, 'Accepted publickey'), logs(n, 'Starting session'), net(n))
    kb = int(open(f.name).read().split()[-1]); os.unlink(f.name)
    if p.returncode: sys.stderr.write(f'rc={p.returncode}: ' + open(W + '/last.out').read()[-600:] + '\n')
    return (w,) + tuple(y - x for x, y in zip(a, b)) + (kb / 1024,)

atexit.register(down); down(); rows = []
for n in map(int, A.hosts.split(',')):
    up(n); write_inputs(n); os.makedirs(W + '/cp', exist_ok=True); res = {}
    env = {'SPEC': W + '/spec.json', 'SSH_CONFIG': W + '/ssh_config', 'INVENTORY': W + '/names', 'STATE': W + '/ours-state'}
    for k in range(A.runs):
        for t in A.tools.split(',') + (['ours'] if A.ours else []):
            each(n, 'reset.sh'); shutil.rmtree(W + '/ours-state', ignore_errors=True)
            for ph in ('first', 'second'):
                pre = [r.stdout for r in each(n, 'mtimes.sh')] if ph == 'second' else None
                if 'pre' in TOOLS[t]: subprocess.run(['sh', '-c', TOOLS[t]['pre']], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                m = timed(TOOLS[t][ph], n, dict(env, PHASE=ph)); res.setdefault((t, ph), []).append(m)
                if t != 'ssh-true':
                    bad = [r for r in each(n, 'check.sh') if r.returncode]
                    if bad: sys.stderr.write(f'CHECK FAILED {t} {ph} hosts={n}: {bad[0].stderr[-300:]}\n')
                    if pre and pre != [r.stdout for r in each(n, 'mtimes.sh')]: sys.stderr.write(f'SECOND APPLY CHANGED SOMETHING: {t}\n')
    for (t, ph), ms in res.items():
        f = lambda j: st.median(x[j] for x in ms)
        r = (n, t, ph, len(ms), f'{f(0):.2f}', f'{min(x[0] for x in ms):.2f}-{max(x[0] for x in ms):.2f}', f'{f(1):.2f}', f'{f(2):.2f}', int(f(3)), int(f(4)), int(f(5)), f'{f(6):.0f}')
        rows.append(r); print('\t'.join(map(str, r)), flush=True)
    down()
os.makedirs(os.path.dirname(A.out), exist_ok=True)
with open(A.out, 'w') as f:
    f.write('hosts\ttool\tphase\truns\twall_med\twall_min-max\tctl_cpu\trem_cpu\tconn\tchan\tpkts\tpeak_MiB\n')
    for r in rows: f.write('\t'.join(map(str, r)) + '\n')
print(f'# injected RTT {A.rtt_ms} ms'); print(subprocess.run(['column', '-t', '-s', '\t', A.out], capture_output=True, text=True).stdout)
