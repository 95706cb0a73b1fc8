"""Every node sends a message while all logs are followed: who received whose, and after how long."""

import json
import os
import signal
import threading
import time

from .bed import each, until
from .docker import Failure, run


class Listener:
    """Follows a node's log, and notes when each line arrived."""

    def __init__(self, node):
        self.node = node
        self.received = {}
        self.process = node.follow()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if message.get("kind") == "text":
                # A line comes again when its delivery marks change.
                self.received.setdefault(message["text"], time.time())

    def stop(self):
        """Ends it, and the program in the container, which Docker would let run on."""
        top = run(["docker", "top", self.node.container, "-eo", "pid,args"], check=False).stdout
        for line in top.splitlines():
            pid, _, args = line.strip().partition(" ")
            if args.strip().startswith("bitchat --json log"):
                try:
                    os.kill(int(pid), signal.SIGTERM)
                except OSError:
                    # Docker runs elsewhere, or as somebody else: it goes when the node does.
                    pass
        self.process.kill()
        self.process.wait()


def chat(bed, seconds=90):
    """Lets every node send a message. Returns what was received; fails if any message did not reach a node."""
    nodes = bed.ready()
    listeners = {n.name: Listener(n) for n in nodes}
    sent, lines = {}, {}

    def send(node):
        text = bed.new_line(node)
        lines[node.name] = text
        sent[node.name] = time.time()
        bed.send(node, text)

    def missing():
        return [(a, b) for b, listener in listeners.items() for a, text in lines.items() if text not in listener.received]

    try:
        each(nodes, send)
        late = None
        try:
            until("all lines reached all", lambda: not missing(), seconds, 0.2)
        except Failure:
            late = missing()
    finally:
        for listener in listeners.values():
            listener.stop()
    joined = bed.state["joined"]
    took = {}
    for b, listener in listeners.items():
        for a, text in lines.items():
            if a != b and text in listener.received:
                took[f"{a} {b}"] = round(max(0.0, listener.received[text] - sent[a]), 3)
                since = max(joined.get(a, 0), joined.get(b, 0))
                bed.state["first"].setdefault(f"{a} {b}", round(max(0.0, listener.received[text] - since), 3))
    bed.save()
    if late:
        raise Failure("pairs that cannot talk: " + ", ".join(f"{a} does not reach {b}" for a, b in late))
    equal = bed.wait_equal(60)
    times = sorted(took.values())
    return {"nodes": len(nodes), "lines": len(bed.state["acknowledged"]), "pairs": len(times) // 2,
            "median_s": times[len(times) // 2], "slowest_s": times[-1], "equal_after_s": round(equal, 1),
            "not_yet": {n.name: n.waits for n in bed.nodes if n.waits}}
