"""A dockerd of the script's own for measurements: in a network namespace with nothing but loopback, its folder the script's.

  with Dockerd(folder) as engine: engine.docker('ps'); engine.image('127.0.0.1:1/app:1', 'bin')

It ends with the block, by its own number, after every container of it is gone. Needs root, dockerd, docker.
"""
import os, subprocess, sys, time

class Dockerd:
    def __init__(self, folder, *options):
        """`options`: further arguments of dockerd."""
        self.folder, self.socket = folder, folder + '/docker.sock'
        self.env = dict(os.environ, DOCKER_HOST='unix://' + self.socket, HOME=folder)
        self.options = ' '.join(options)

    def docker(self, *args):
        return subprocess.run(['docker', *args], env=self.env, check=True, capture_output=True, text=True).stdout

    def image(self, name, what, command=None):
        """Makes an image of what lies in `img/` below the folder; no registry is there: what is here counts."""
        change = ['-c', 'CMD ' + command] if command else []
        tar = subprocess.run(['tar', '-C', self.folder + '/img', '-c', what], check=True, capture_output=True).stdout
        subprocess.run(['docker', 'import', *change, '-', name], input=tar, env=self.env, check=True, capture_output=True)

    def clear(self):
        ids = self.docker('ps', '-aq').split()
        if ids: self.docker('rm', '-f', *ids)

    def __enter__(self):
        at = self.folder; log = open(at + '/dockerd.log', 'w')
        self.process = subprocess.Popen(
            ['unshare', '--net', '--mount', 'sh', '-c', f'ip link set lo up; exec dockerd --data-root {at}/data --exec-root {at}/exec --pidfile {at}/pid --host unix://{self.socket} --group root {self.options}'],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(300):
            if subprocess.run(['docker', 'version'], env=self.env, capture_output=True).returncode == 0: return self
            if self.process.poll() is not None: break
            time.sleep(.1)
        self.process.terminate(); sys.exit('dockerd does not answer: ' + open(at + '/dockerd.log').read()[-2000:])

    def __exit__(self, *_):
        try: self.clear()
        finally:
            self.process.terminate()
            try: self.process.wait(60)
            except subprocess.TimeoutExpired: self.process.kill()
