"""All say a line, and each one's log is watched as it grows: who heard whom, and after how long."""

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
        self.heard = {}
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
                self.heard.setdefault(message["text"], time.time())

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
    """Lets all say a line. Gives what was heard; fails when anybody did not hear anybody."""
    nodes = bed.ready()
    listeners = {n.name: Listener(n) for n in nodes}
    said, lines = {}, {}

    def say(node):
        text = bed.new_line(node)
        lines[node.name] = text
        said[node.name] = time.time()
        bed.say(node, text)

    def missing():
        return [(a, b) for b, listener in listeners.items() for a, text in lines.items() if text not in listener.heard]

    try:
        each(nodes, say)
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
            if a != b and text in listener.heard:
                took[f"{a} {b}"] = round(max(0.0, listener.heard[text] - said[a]), 3)
                since = max(joined.get(a, 0), joined.get(b, 0))
                bed.state["first"].setdefault(f"{a} {b}", round(max(0.0, listener.heard[text] - since), 3))
    bed.save()
    if late:
        raise Failure("pairs that cannot talk: " + ", ".join(f"{a} is not heard by {b}" for a, b in late))
    equal = bed.wait_equal(60)
    times = sorted(took.values())
    return {"nodes": len(nodes), "lines": len(bed.state["acknowledged"]), "pairs": len(times) // 2,
            "median_s": times[len(times) // 2], "slowest_s": times[-1], "equal_after_s": round(equal, 1),
            "not_yet": {n.name: n.waits for n in bed.nodes if n.waits}}
