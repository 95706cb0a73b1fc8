"""Breaks things in an order that a seed decides. After each: all settles, all logs are equal, nothing that was
acknowledged is lost, and nothing is there twice."""

import os
import random
import threading
import time

from . import docker
from .actions import ACTIONS
from .bed import Node, each, until
from .docker import Failure, note, target

# How long all may take to be whole again.
SETTLE = 180


class Storm:
    """Messages sent all the while by random nodes; unacknowledged ones are sent again later."""

    def __init__(self, bed, rng):
        self.bed = bed
        self.nodes = rng.sample(bed.ready(), min(3, len(bed.ready())))
        self.again = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        for node in self.nodes * 100:
            if self.over.is_set():
                return
            text = self.bed.new_line(node)
            try:
                event = node.send(text, key=text)
            except Failure:
                event = None
            if event:
                self.bed.state["acknowledged"][text] = event
            else:
                self.again.append((node, text))
            time.sleep(0.3)

    def quiet(self):
        """No more."""
        self.over.set()
        self.thread.join()

    def end(self):
        """Stops; sends again what was not acknowledged, with the same key."""
        self.quiet()
        for node, text in self.again:
            self.bed.send(node, text)


def linked_pairs(bed):
    """Who has a link with whom now."""
    members = each(bed.ready(), Node.members)
    return {(a, b) for a, known in members.items() for b, m in known.items() if m["online"] and not m["me"]}


def unlinked(bed, pairs):
    """Those of them that have no link now."""
    return sorted(f"{a} - {b}" for a, b in pairs - linked_pairs(bed))


def step(bed, rng, name):
    """One thing breaks and is mended. Gives how that went."""
    storm = Storm(bed, rng)
    begun = time.monotonic()
    action = ACTIONS[name](bed, rng)
    what, away = next(action, ("nothing to break", set()))
    try:
        here = [n for n in bed.ready() if n.name not in away]
        time.sleep(rng.uniform(1, 4))
        for node in rng.sample(here, min(2, len(here))):
            bed.send(node, bed.new_line(node))
        if not away:
            # Logs are read one after the other: nobody may send anything meanwhile.
            storm.quiet()
            bed.wait_equal(SETTLE, here)
    finally:
        try:
            next(action, None)
        finally:
            mended = time.monotonic()
            storm.over.set()
    storm.end()
    for node in rng.sample(bed.ready(), min(3, len(bed.ready()))):
        bed.send(node, bed.new_line(node))
    bed.wait_equal(SETTLE)
    equal = time.monotonic() - mended
    left = []

    def linked():
        left[:] = unlinked(bed, bed.links)
        return not left
    try:
        until("", linked, SETTLE)
    except Failure:
        raise Failure(f"no link after {SETTLE} s: {', '.join(left)}") from None
    bed.save()
    return {"action": name, "what": what, "broken_s": round(mended - begun, 1), "equal_s": round(equal, 1),
            "linked_s": round(time.monotonic() - mended, 1), "lines": len(bed.state["acknowledged"])}


def seed_run(bed, seed, steps, names, out):
    """All steps of one seed. Gives the fault, if there was one."""
    rng = random.Random(seed)
    for n, name in enumerate([rng.choice(names) for _ in range(steps)], 1):
        try:
            done = step(bed, rng, name)
        except Failure as failure:
            bed.save()
            folder = keep_logs(bed, seed)
            out({"seed": seed, "step": n, "action": name, "fault": str(failure), "logs": folder},
                f"seed {seed} step {n} {name}: FAULT: {failure}\n  logs: {folder}")
            return failure
        out({"seed": seed, "step": n, **done}, f"seed {seed} step {n}: {done['what']}, for {done['broken_s']} s; logs equal after "
            f"{done['equal_s']} s, links after {done['linked_s']} s; {done['lines']} lines")
    return None


def keep_logs(bed, seed):
    """Puts what all nodes logged into a folder."""
    folder = os.path.join(target(), f"chaos-{seed}")
    os.makedirs(folder, exist_ok=True)
    for info in bed.project.containers():
        name = info["Name"].lstrip("/")
        done = docker.run(["docker", "logs", "--timestamps", name], check=False)
        with open(os.path.join(folder, f"{name}.log"), "w", encoding="utf-8") as file:
            file.write(done.stdout + done.stderr)
    return folder


def main(options, bed, out):
    """`chaos`."""
    asked = [a for a in (options.only, *options.without.split(",")) if a]
    if set(asked) - set(ACTIONS):
        raise Failure(f"there is no {' and no '.join(set(asked) - set(ACTIONS))}; there are {', '.join(ACTIONS)}")
    names = [options.only] if options.only else sorted(set(ACTIONS) - set(asked))
    chosen = "".join(f" --{k} {v}" for k, v in (("only", options.only), ("without", options.without)) if v)
    if options.new:
        bed.next_image = "bitchat:next"
        docker.run([os.path.join(docker.HERE, "image"), "--clock", "--tag", bed.next_image, "--program", options.new])
    # What is linked now must be linked again after each step.
    bed.links = linked_pairs(bed)
    first = options.seed if options.seed is not None else int(time.time())
    end = time.monotonic() + options.minutes * 60 if options.minutes else None
    faults, seed = [], first
    while (time.monotonic() < end) if end else (seed < first + options.seeds):
        note(f"seed {seed}: repeat with `docker/testbed chaos {seed} --steps {options.steps}{chosen}`")
        if seed_run(bed, seed, options.steps, names, out):
            faults.append(seed)
            if faults[-3:] == [seed - 2, seed - 1, seed]:
                break
        seed += 1
    out({"seeds": seed - first, "faults": faults, "lines": len(bed.state["acknowledged"])},
        f"{seed - first} seeds, {len(faults)} with faults; {len(bed.state['acknowledged'])} lines, each in all logs once")
    if faults:
        raise Failure(f"seeds with faults: {', '.join(map(str, faults))}")
