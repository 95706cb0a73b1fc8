"""Docker and docker-compose, old and new: found, installed, started where none runs, and called."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)


class Failure(Exception):
    """An error that ends the command, with a message for the user."""


class NoDocker(Failure):
    """There is no Docker, and none can be started: exit status 3."""


def note(*parts):
    """Says how it goes, beside the results on standard output."""
    print(*parts, file=sys.stderr, flush=True)


def run(args, stdin=None, timeout=120, check=True, env=None):
    """Runs a program; gives its output. A failure includes its output."""
    try:
        done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, check=False)
    except subprocess.TimeoutExpired as late:
        if check:
            raise Failure(f"{' '.join(args[:6])}: no end after {timeout} s") from late
        return subprocess.CompletedProcess(args, 124, "", "timeout")
    except FileNotFoundError as missing:
        raise Failure(f"{args[0]} is not installed") from missing
    if check and done.returncode:
        raise Failure(f"{' '.join(args[:6])}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done


def alone():
    """Sees that no other command of the testbed's runs, nor begins before this one ends."""
    # Kept open, and so locked, for as long as this process lives.
    alone.lock = open(os.path.join(target(), "lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(alone.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Failure("another command of the testbed's is running") from None


def target():
    """The folder of what is built and kept, which `cargo clean` empties."""
    folder = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    folder = os.path.join(folder, "testbed")
    os.makedirs(folder, exist_ok=True)
    return folder


# ---- prerequisites

def _answers():
    return shutil.which("docker") and run(["docker", "info"], check=False, timeout=20).returncode == 0


def _compose_command():
    if run(["docker", "compose", "version"], check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    return None


def _apt(packages):
    if not shutil.which("apt-get"):
        raise NoDocker(f"please install by hand, there is no apt here: {' '.join(packages)}")
    note("installing", *packages)
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    try:
        run(sudo + ["apt-get", "update", "-qq"], timeout=300)
        run(sudo + ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq",
                    "--no-install-recommends"] + packages, timeout=600)
    except Failure as failure:
        raise NoDocker(str(failure)) from None


def _pid_file():
    return os.path.join(target(), "dockerd.pid")


def prepare():
    """Docker answers, and compose is there, when this returns."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    socket = os.path.join(target(), "docker.sock")
    if "DOCKER_HOST" not in os.environ and os.path.exists(_pid_file()):
        os.environ["DOCKER_HOST"] = f"unix://{socket}"
    missing = []
    if not shutil.which("docker") or (not _answers() and not shutil.which("dockerd")):
        missing += ["docker.io", "iptables"]
    if not shutil.which("docker") or _compose_command() is None:
        missing.append("docker-compose")
    if missing:
        _apt(missing)
    if not _answers():
        _start_daemon(socket)
    if _compose_command() is None:
        raise Failure("neither `docker compose` nor docker-compose is there")


def _start_daemon(socket):
    if os.geteuid() != 0:
        raise NoDocker("no Docker answers, and only root can start one: start it, or give DOCKER_HOST")
    folder = target()
    note("no Docker answers: starting one, which `down` stops")
    with open(os.path.join(folder, "dockerd.log"), "w", encoding="utf-8") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", os.path.join(folder, "docker"), "--exec-root", "/run/bitchat-testbed",
             "--pidfile", _pid_file(), "-H", f"unix://{socket}"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    os.environ["DOCKER_HOST"] = f"unix://{socket}"
    for _ in range(120):
        if _answers():
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.5)
    with open(os.path.join(folder, "dockerd.log"), encoding="utf-8") as log:
        tail = "".join(log.readlines()[-5:])
    if daemon.poll() is None:
        daemon.terminate()
    raise NoDocker(f"no dockerd can be started here:\n{tail}")


def stop_daemon():
    """Ends the dockerd that `prepare` started, if it did."""
    try:
        with open(_pid_file(), encoding="utf-8") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read().strip() != "dockerd":
                raise OSError
        os.kill(pid, 15)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.2)
    except (OSError, ValueError):
        pass


# ---- one project

class Project:
    """What compose made of one file."""

    def __init__(self, file, name):
        self.name = name
        self.file = os.path.join(HERE, file)
        # What chaos changes of single services, in JSON, which compose reads as YAML.
        self.override = os.path.join(target(), f"{name}.override.json")

    def compose(self, *args, timeout=300, env=None):
        """docker-compose with these arguments."""
        files = ["-f", self.file]
        if os.path.exists(self.override):
            files += ["-f", self.override]
        return run(_compose_command() + ["-p", self.name] + files + list(args), timeout=timeout, env=env)

    def change(self, services):
        """Has these services differ from the file, from their next `up` on; none: no longer."""
        if services:
            with open(self.override, "w", encoding="utf-8") as file:
                json.dump({"services": services}, file)
        elif os.path.exists(self.override):
            os.remove(self.override)

    def containers(self):
        """All of its containers, as `docker inspect` describes them."""
        ids = run(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}"]).stdout.split()
        return json.loads(run(["docker", "inspect"] + ids).stdout) if ids else []

    def container(self, service):
        """The id of a service's container."""
        ids = run(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}",
                   "--filter", f"label=com.docker.compose.service={service}"]).stdout.split()
        if not ids:
            raise Failure(f"there is no container of {service}: is the testbed up?")
        return ids[0]
