"""The nodes of a running testbed, the channel that they share, and what is kept between commands."""

import concurrent.futures
import json
import os
import subprocess
import threading
import time

from .docker import Failure, Project, note, run, target

CHANNEL = "testbed"
# `docker exec` starts a program in a container, which costs a tenth of a second of a core.
AT_ONCE = 6


class Node:
    """A member: one container with the program in it."""

    def __init__(self, project, info):
        labels = info["Config"]["Labels"]
        self.project = project
        self.id = info["Id"]
        self.container = info["Name"].lstrip("/")
        self.service = labels["com.docker.compose.service"]
        number = labels.get("com.docker.compose.container-number", "1")
        self.name = self.service if self.service != "node" else f"node{int(number):02}"
        self.kind = labels["bitchat.node"]
        self.router = labels.get("bitchat.router")
        self.waits = labels.get("bitchat.waits")

    def call(self, *args, stdin=None, check=True, timeout=60):
        """The program in it, with these arguments; gives the objects that it prints."""
        done = run(["docker", "exec", "-i", self.container, "bitchat", "--json", *args],
                   stdin=stdin or "", check=check, timeout=timeout)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")] \
            if done.returncode == 0 else None

    def one(self, *args, **kwargs):
        """The one object that it prints."""
        answer = self.call(*args, **kwargs)
        return answer[0] if answer else None

    def runs(self):
        """Whether its node answers."""
        return self.one("status", check=False, timeout=20) is not None

    def send(self, text, key=None):
        """Sends a message; returns its id when it was acknowledged."""
        keyed = ["--key", key] if key else []
        answer = self.one("send", CHANNEL, text, *keyed, check=False, timeout=30)
        return answer and answer["event_id"]

    def log(self):
        """The lines of its log: (event id, text)."""
        answer = self.call("log", CHANNEL, check=False)
        return None if answer is None else [(line["event_id"], line["text"]) for line in answer if line["kind"] == "text"]

    def members(self):
        """The members it knows, by name."""
        return {m["name"]: m for m in self.call("members", CHANNEL, check=False) or []}

    def online(self):
        """How many members it has links with, itself among them."""
        return (self.one("channel", "info", CHANNEL, check=False) or {"online": 0})["online"]

    def follow(self):
        """A process that prints its log as it grows."""
        return subprocess.Popen(["docker", "exec", self.container, "bitchat", "--json", "log", CHANNEL, "--follow"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)


def each(nodes, act):
    """Does it for each of them, some at a time; gives the results by name."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip([n.name for n in nodes], pool.map(act, nodes)))


def until(what, holds, seconds, pause=1.0):
    """Waits for it, and gives the seconds that it took."""
    start = time.monotonic()
    while True:
        if holds():
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            raise Failure(f"it did not come true within {seconds} s: {what}")
        time.sleep(pause)


class Bed:
    """A project of compose that is up."""

    def __init__(self, file="compose.yml", name="bitchat-testbed"):
        self.project = Project(file, name)
        self.nodes = []
        self.lock = threading.Lock()
        self.path = os.path.join(target(), f"{name}.json")
        # acknowledged: text of each line -> its event's id; joined: name -> when; received: reader -> line -> seconds.
        self.state = {"acknowledged": {}, "joined": {}, "first": {}, "received": {}, "lines": 0}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.state.update(json.load(file))
        # What a rolling upgrade leads to.
        self.next_image = None
        # What chaos found linked in the beginning.
        self.links = set()
        self.find()

    def find(self):
        """Looks again which containers there are."""
        self.nodes = sorted((Node(self.project, c) for c in self.project.containers()
                             if "bitchat.node" in c["Config"]["Labels"]), key=order)

    def save(self):
        """Keeps what the next command wants to know."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.state, file)
        os.replace(self.path + ".new", self.path)

    def ready(self):
        """The nodes that can do what their side asks of them."""
        return [n for n in self.nodes if not n.waits]

    def node(self, name):
        """One of them."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise Failure(f"there is no node {name}")

    # ---- up and down

    def up(self, services=(), scale=None):
        """Starts it from scratch, creates the channel, lets all join, and configures the trackers."""
        if self.project.containers():
            self.down()
        self.project.change(None)
        self.state = {"acknowledged": {}, "joined": {}, "first": {}, "received": {}, "lines": 0}
        start = time.monotonic()
        args = ["up", "-d", "--no-build"]
        if scale:
            args += ["--scale", f"node={scale}"]
        self.project.compose(*args, *services, timeout=600)
        self.find()
        if not self.nodes:
            raise Failure("there are no nodes")
        until("all nodes answer", lambda: all(each(self.nodes, Node.runs).values()), 120)
        note(f"{len(self.nodes)} nodes run after {time.monotonic() - start:.1f} s")
        self.join_all()
        self.save()

    def join_all(self):
        """One makes the channel; the others get the file by hand."""
        first = self.nodes[0]
        trackers, dht = [], []
        for info in self.project.containers():
            role = info["Config"]["Labels"].get("bitchat.role")
            service = info["Config"]["Labels"]["com.docker.compose.service"]
            address = [n["IPAMConfig"]["IPv4Address"] for n in info["NetworkSettings"]["Networks"].values()
                       if n.get("IPAMConfig")]
            if role == "tracker":
                scheme = "udp" if "udp" in service else "http"
                path = "" if scheme == "udp" else "/announce"
                trackers += ["--tracker", f"{scheme}://{address[0]}:6969{path}"]
            elif role == "dht":
                dht += ["--node", f"{address[0]}:6881"]
        relays = [argument for address in self.relays() for argument in ("--relay", address)]
        made = first.one("channel", "create", CHANNEL, "--out", "/tmp/testbed.chat", *trackers, *dht, *relays)
        self.state["joined"][first.name] = time.time()
        self.tell_trackers()

        def join(node):
            node.call("channel", "join", made["link"])
            self.state["joined"][node.name] = time.time()
        each(self.nodes[1:], join)

    def relays(self):
        """The addresses of the relays, as printed when they are ready."""
        found = []

        def ready(container):
            for line in run(["docker", "logs", container]).stdout.splitlines():
                if line.startswith('{"event":"ready"'):
                    found.extend(json.loads(line)["relays"])
                    return True
            return False
        for info in self.project.containers():
            if info["Config"]["Labels"].get("bitchat.role") == "relay":
                until("the relay is ready", lambda container=info["Id"]: ready(container), 30)
        return found

    def tell_trackers(self):
        """Has them serve the channel's hashes: Debian's opentracker serves only listed ones."""
        hashes = self.nodes[0].one("channel", "info", CHANNEL)["rendezvous"]
        for info in self.project.containers():
            if info["Config"]["Labels"].get("bitchat.role") == "tracker" and info["State"]["Running"]:
                run(["docker", "exec", "-i", info["Id"], "/lab/serve"], stdin="".join(h + "\n" for h in hashes))

    def down(self):
        """Ends all of it, and forgets it."""
        self.project.change(None)
        self.project.compose("down", "-v", "--remove-orphans", "-t", "5", timeout=300)
        if os.path.exists(self.path):
            os.remove(self.path)

    # ---- changes while it runs

    def image(self):
        """What nodes run."""
        return self.state.get("image") or os.environ.get("BITCHAT_IMAGE", "bitchat:lab")

    def replace(self, node, settings):
        """Recreates its container from the file and these settings; its home stays."""
        base = {"image": self.image()}
        self.project.change({node.service: {**base, **settings}})
        self.project.compose("up", "-d", "--no-deps", "--no-build", "--force-recreate", "-t", "10", node.service)
        until(f"{node.name} answers", node.runs, 60)

    def new_line(self, node):
        """A text that was not sent before."""
        with self.lock:
            self.state["lines"] += 1
            return f"line {self.state['lines']} of {node.name}"

    # ---- what must hold

    def send(self, node, text):
        """Says it once, however often this has to be tried, and remembers that it was acknowledged."""
        for _ in range(30):
            event = node.send(text, key=text)
            if event:
                self.state["acknowledged"][text] = event
                return event
            time.sleep(1)
        raise Failure(f"{node.name} acknowledges nothing")

    def faults(self, nodes=None):
        """What keeps the logs from being equal, complete and without doubles; none: nothing does."""
        logs = each(nodes or self.ready(), Node.log)
        found = []
        wanted = {event: text for text, event in self.state["acknowledged"].items()}
        first_name, first = next(iter(logs.items()))
        for name, log in logs.items():
            if log is None:
                found.append(f"{name} does not answer")
                continue
            ids = [event for event, _ in log]
            texts = [text for _, text in log]
            lacks = [wanted[event] for event in wanted.keys() - set(ids)]
            if lacks:
                found.append(f"{name} lacks {len(lacks)}: {', '.join(sorted(lacks)[:3])}")
            if len(set(ids)) < len(ids) or len(set(texts)) < len(texts):
                found.append(f"{name} has lines twice: {sorted({t for t in texts if texts.count(t) > 1})[:3]}")
            if first is not None and log != first and not lacks:
                found.append(f"{name} and {first_name} differ")
        return found

    def wait_equal(self, seconds, nodes=None):
        """Until all logs are equal and have all that was acknowledged; gives the seconds."""
        last = []

        def holds():
            last[:] = self.faults(nodes)
            return not last
        try:
            return until("all logs are equal", holds, seconds)
        except Failure as failure:
            raise Failure(f"{failure}\n  " + "\n  ".join(last)) from None


def order(node):
    """Public ones first, then as in the file."""
    kinds = ["public", "full-cone", "port-restricted", "symmetric"]
    return (kinds.index(node.kind) if node.kind in kinds else len(kinds), node.name)
