"""The command line."""

import argparse
import json
import os
import sys
import time

from . import actions, chaos, chat, cost, docker, picture, table
from .bed import Bed, each, until
from .docker import Failure, NoDocker, note

SMOKE = ["tracker-http", "tracker-udp", "dht1", "dht2", "dht3", "dht4", "relay", "public1", "public2",
         "cone1-router", "cone1", "port1-router", "port1", "sym1-router", "sym1",
         "http-proxy", "http1", "socks-proxy", "socks1"]

HELP = """Many nodes behind real NATs and proxies, on one machine, with Docker.

One command for all of it: `docker/testbed all` starts it, lets all pairs talk, shows how
they reach each other, and removes it; its exit status is 0 if all pairs can talk.

Missing parts of python3, Docker and docker-compose (old or new) are installed by apt, and a
dockerd is started where none answers; both need root. The program is taken from
target/release, or built. No registry is contacted.

Exit status: 0 success, 1 failure (with a message), 2 wrong arguments, 3 there
is no Docker and none can be started."""


def parser():
    """The commands and their arguments."""
    p = argparse.ArgumentParser(prog="docker/testbed", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", action="store_true", help="results as JSON, one object a line")
    p.add_argument("--program", metavar="FILE", help="use this program instead of target/release/bitchat")
    sub = p.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, text):
        one = sub.add_parser(name, help=text, description=text)
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="results as JSON")
        return one
    add("prepare", "install what is missing, start Docker if it is not running, build the images: the first step of the others")
    up = add("up", "build the images, start all, and have all nodes join one channel")
    up.add_argument("service", nargs="*", help="only these and what they need (default: all)")
    talk = add("chat", "every node sends a message; wait until all logs are equal; fail if any pair cannot talk")
    talk.add_argument("--rounds", type=int, default=1, help="how often")
    tab = add("table", "who reaches whom, by which path, found by which source, time to first message")
    tab.add_argument("--all", action="store_true", dest="every", help="a line for each pair")
    tab.add_argument("--strict", action="store_true", help="fail if a pair has no link of its own")
    mesh = add("mesh", "a picture of the mesh")
    mesh.add_argument("--dot", action="store_true", help="DOT for graphviz instead of SVG")
    mesh.add_argument("--out", metavar="FILE", help="where to (default: standard output)")
    storm = add("chaos", "break things in an order determined by the seed, and check that everything recovers")
    storm.add_argument("seed", type=int, nargs="?", help="default: taken from the clock, and printed")
    storm.add_argument("--seeds", type=int, default=1, help="number of seeds, starting with this one")
    storm.add_argument("--steps", type=int, default=3, help="number of things to break per seed (default 3)")
    storm.add_argument("--minutes", type=float, help="continue with the next seeds for this many minutes")
    storm.add_argument("--only", metavar="ACTION", help="break only this: " + ", ".join(actions.ACTIONS))
    storm.add_argument("--without", metavar="ACTION", default="", help="do not break this; several with commas")
    storm.add_argument("--new", metavar="FILE", help="another build of the program, the target of rolling upgrades")
    logs = add("logs", "what the nodes log")
    logs.add_argument("service", nargs="*")
    add("down", "end all, with all that was kept")
    add("smoke", "a part of it in less than four minutes: up, chat, table, down")
    whole = add("all", "the whole of it: up, chat, table, down; every pair must have a link of its own")
    whole.add_argument("--keep", action="store_true", help="leave it up")
    many = add("mesh-of", "N nodes in one network: full mesh, a line of each reaches all; memory and CPU a node")
    many.add_argument("n", type=int, metavar="N")
    many.add_argument("--keep", action="store_true", help="leave it up")
    return p


def image(options):
    """Builds the images."""
    args = [os.path.join(docker.HERE, "image"), "--lab"]
    if options.program:
        args += ["--program", options.program]
    note("building the images (and the program, if it is not there yet)")
    try:
        docker.run(args, timeout=1800)
    except Failure as failure:
        if "OCI runtime" in str(failure) or "failed to mount" in str(failure):
            raise NoDocker(f"Docker cannot run containers here: {failure}") from None
        raise


def out(options, value, text):
    """A result, for a program or for a person."""
    print(json.dumps(value) if options.json else text, flush=True)


def do_chat(options, bed):
    """`chat`."""
    for _ in range(getattr(options, "rounds", 1)):
        sent = chat.chat(bed)
        out(options, sent, f"{sent['nodes']} nodes, {sent['pairs']} pairs: all talk; a message takes {sent['median_s']:.2f} s in "
            f"the median, {sent['slowest_s']:.2f} s at most; all logs are equal")
        for name, why in sent["not_yet"].items():
            note(f"not yet: {name} ({why})")


def do_table(options, bed):
    """`table`."""
    rows = table.collect(bed)
    if not any(row["talk"] for row in rows) and not bed.state["acknowledged"]:
        raise Failure("no messages have been sent yet: run `docker/testbed chat` first")
    out(options, {"pairs": rows, "faults": table.faults(rows)}, table.show(bed, rows, getattr(options, "every", False)))
    if table.faults(rows):
        raise Failure("pairs that cannot talk: " + "; ".join(table.faults(rows)))
    if getattr(options, "strict", False):
        without = [f"{r['a']} - {r['b']}" for r in rows if r["path"] in (None, "others") and not r["waits"]]
        if without:
            raise Failure("pairs without a link: " + "; ".join(without))


def settle(bed, seconds=45):
    """Until the number of links no longer grows, since the table is to show what comes to be."""
    last = [-1, time.monotonic()]

    def quiet():
        links = sum(each(bed.nodes, lambda n: n.online()).values())
        if links != last[0]:
            last[:] = [links, time.monotonic()]
        return time.monotonic() - last[1] > 10
    try:
        until("the mesh is quiet", quiet, seconds, 2)
    except Failure:
        note("links still come and go")


def whole(options, services=()):
    """`all` and `smoke`."""
    bed = Bed()
    try:
        image(options)
        start = time.monotonic()
        bed.up(services)
        do_chat(options, bed)
        settle(bed, 30 if services else 90)
        do_chat(options, bed)
        # All of it: there is a relay for those whom nothing else brings together.
        options.strict = not services
        do_table(options, bed)
        note(f"{time.monotonic() - start:.0f} s after the images were built")
    except Failure:
        for node in bed.nodes[:3]:
            note(f"--- {node.name}\n" + docker.run(["docker", "logs", "--tail", "10", node.container], check=False).stderr)
        raise
    finally:
        if not getattr(options, "keep", False):
            bed.down()
            docker.stop_daemon()


def mesh_of(options):
    """`mesh-of N`."""
    bed = Bed("compose.mesh.yml", "bitchat-mesh")
    try:
        image(options)
        start = time.monotonic()
        bed.up(scale=options.n)

        def full():
            return all(online == options.n for online in each(bed.nodes, lambda n: n.online()).values())
        joined = max(bed.state["joined"].values())
        until("a full mesh", full, 240, 2)
        mesh_s = time.time() - joined
        before = cost.cost(bed)
        sent = chat.chat(bed)
        time.sleep(15)
        idle_from = cost.cost(bed)
        time.sleep(15)
        after = cost.cost(bed)
        idle = {n: round((after[n]["cpu_s"] - idle_from[n]["cpu_s"]) / 15 * 100, 2) for n in after if n in idle_from}
        result = {"nodes": options.n, "full_mesh_s": round(mesh_s, 1), **sent, "cost": after,
                  "mib": cost.spread([c["mib"] for c in after.values()]),
                  "cpu_s_until_mesh": cost.spread([c["cpu_s"] for c in before.values()]),
                  "cpu_s": cost.spread([c["cpu_s"] for c in after.values()]), "idle_cpu_percent": cost.spread(idle.values())}
        text = [f"{options.n} nodes: full mesh {mesh_s:.1f} s after the last joined; {options.n} lines reached all, "
                f"{sent['median_s']:.2f} s in the median, {sent['slowest_s']:.2f} s at most"]
        text += [f"{n:<8} {c['mib']:6.1f} MiB  {c['cpu_s']:6.2f} s of CPU  {idle.get(n, 0):5.2f} % when idle" for n, c in after.items()]
        text.append(f"a node: {result['mib']} MiB, {result['cpu_s']} s of CPU, {result['idle_cpu_percent']} % when idle")
        out(options, result, "\n".join(text))
        note(f"{time.monotonic() - start:.0f} s after the images were built")
    finally:
        if not options.keep:
            bed.down()
            docker.stop_daemon()


def dispatch(options):
    """One command."""
    if options.command not in ("logs", "table", "mesh"):
        docker.alone()
    docker.prepare()
    if options.command == "prepare":
        image(options)
    elif options.command == "mesh-of":
        mesh_of(options)
    elif options.command in ("all", "smoke"):
        whole(options, SMOKE if options.command == "smoke" else ())
    elif options.command == "up":
        image(options)
        bed = Bed()
        bed.up(options.service)
        out(options, {"nodes": [n.name for n in bed.nodes]}, "up: " + " ".join(n.name for n in bed.nodes))
    elif options.command == "down":
        Bed().down()
        Bed("compose.mesh.yml", "bitchat-mesh").down()
        docker.stop_daemon()
    else:
        bed = Bed()
        if not bed.nodes:
            raise Failure("the testbed is not up: `docker/testbed up`")
        if options.command == "chat":
            do_chat(options, bed)
        elif options.command == "table":
            do_table(options, bed)
        elif options.command == "chaos":
            chaos.main(options, bed, lambda value, text: out(options, value, text))
        elif options.command == "logs":
            print(bed.project.compose("logs", "--no-color", *options.service).stdout)
        elif options.command == "mesh":
            rows = table.collect(bed)
            drawn = picture.dot(bed, rows) if options.dot else picture.svg(bed, rows)
            if options.out:
                with open(options.out, "w", encoding="utf-8") as file:
                    file.write(drawn)
            else:
                sys.stdout.write(drawn)


def main():
    """Runs a command; gives the exit status."""
    options = parser().parse_args()
    try:
        dispatch(options)
    except Failure as failure:
        if options.json:
            print(json.dumps({"error": str(failure)}), flush=True)
        print(f"docker/testbed: {failure}", file=sys.stderr)
        return 3 if isinstance(failure, NoDocker) else 1
    except BrokenPipeError:
        # Whoever read it has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except KeyboardInterrupt:
        return 130
    return 0
