"""What chaos does. Each action is a generator: it breaks something, yields what it broke and the names of the
nodes that are away meanwhile, and mends it when it is taken up again."""

import time

from .docker import Failure, run


def kill_9(bed, rng):
    """The node's process is killed, and started again."""
    node = rng.choice(bed.ready())
    run(["docker", "kill", "-s", "KILL", node.container])
    yield f"kill -9 of {node.name}", {node.name}
    run(["docker", "start", node.container])


def restart(bed, rng):
    """The node is stopped in order, which must end with status 0, and started again."""
    node = rng.choice(bed.ready())
    run(["docker", "stop", "-t", "10", node.container])
    status = run(["docker", "inspect", "-f", "{{.State.ExitCode}}", node.container]).stdout.strip()
    if status != "0":
        raise Failure(f"{node.name} ended with status {status} after SIGTERM")
    yield f"stop of {node.name}", {node.name}
    run(["docker", "start", node.container])


def pause(bed, rng):
    """The node is frozen for a while, as a sleeping laptop is."""
    node = rng.choice(bed.ready())
    run(["docker", "pause", node.container])
    try:
        yield f"pause of {node.name}", {node.name}
        time.sleep(rng.randint(2, 30))
    finally:
        run(["docker", "unpause", node.container])


def addresses(node):
    """Its networks, with its address in each."""
    answer = run(["docker", "inspect", "-f", "{{range $n, $v := .NetworkSettings.Networks}}{{$n}} {{$v.IPAMConfig.IPv4Address}}\n{{end}}",
                node.container]).stdout
    return dict(line.split() for line in answer.splitlines() if line.strip())


def plug(node, network, address):
    """Connects it, under that address."""
    run(["docker", "network", "connect", "--ip", address, network, node.container])


def unplug(node, network):
    """Disconnects it."""
    run(["docker", "network", "disconnect", network, node.container])


def disconnect(bed, rng):
    """The node's cable is pulled, and put back. It may talk to itself meanwhile."""
    node = rng.choice(bed.ready())
    (network, address), = addresses(node).items()
    unplug(node, network)
    try:
        yield f"no network for {node.name}", {node.name}
        time.sleep(rng.randint(1, 20))
    finally:
        plug(node, network, address)


def swap_address(bed, rng):
    """Two nodes with public addresses have each other's, and later their own again."""
    public = [n for n in bed.ready() if n.kind == "public"]
    a, b = rng.sample(public, 2)
    (network, at_a), = addresses(a).items()
    (_, at_b), = addresses(b).items()

    def swap(first, second):
        unplug(a, network)
        unplug(b, network)
        plug(a, network, first)
        plug(b, network, second)
    swap(at_b, at_a)
    try:
        yield f"{a.name} and {b.name} swap addresses", set()
    finally:
        swap(at_a, at_b)


def clock(bed, rng):
    """The node starts again with a clock that is wrong, talks, and later has the right time again."""
    node = rng.choice(bed.ready())
    skew = rng.choice(["+20m", "-20m", "+90m", "-90m", "+26h", "-26h", "+40d"])
    bed.replace(node, {"environment": {"LD_PRELOAD": "/usr/lib/libfaketime.so.1", "FAKETIME": skew,
                                       "FAKETIME_DONT_FAKE_MONOTONIC": "1"}})
    try:
        bed.send(node, bed.new_line(node))
        # With a clock that is days off it looks for the others under another day's hashes.
        yield f"the clock of {node.name} is {skew} off", {node.name}
    finally:
        bed.replace(node, {})


def disk_full(bed, rng):
    """The disk of the node on a small one is filled: it acknowledges nothing that it cannot keep."""
    node = bed.node("public3")
    keeper = bed.project.container("keeper")
    run(["docker", "exec", keeper, "sh", "-c", "dd if=/dev/zero of=/small/filler bs=4k 2>/dev/null; true"])
    try:
        for _ in range(3):
            text = bed.new_line(node)
            event = node.send(text, key=text)
            if event:
                bed.state["acknowledged"][text] = event
        yield f"the disk of {node.name} is full", {node.name}
        time.sleep(rng.randint(1, 10))
    finally:
        run(["docker", "exec", keeper, "rm", "-f", "/small/filler"])


def _stop_role(bed, roles):
    ids = [c["Id"] for c in bed.project.containers() if c["Config"]["Labels"].get("bitchat.role") in roles]
    if ids:
        run(["docker", "pause"] + ids)
    return ids


def outage(bed, rng):
    """No tracker and no node of the DHT answers; a node that starts then finds the others all the same."""
    roles = rng.choice([["tracker"], ["dht", "relay"], ["tracker", "dht", "relay"]])
    ids = _stop_role(bed, roles)
    try:
        node = rng.choice(bed.ready())
        run(["docker", "restart", "-t", "10", node.container])
        yield f"no {' and no '.join(roles)}, and {node.name} starts again", set()
    finally:
        if ids:
            run(["docker", "unpause"] + ids)


def ports_blocked(bed, rng):
    """A router lets nothing out to the ports that BitTorrent is known by; the node behind it starts again."""
    node = rng.choice([n for n in bed.ready() if n.router and "proxy" not in n.router] or bed.ready())
    if not node.router:
        return
    router = bed.project.container(node.router)
    for protocol in ("tcp", "udp"):
        run(["docker", "exec", router, "nft", "add", "rule", "ip", "router", "blocked", protocol, "dport",
             "{ 6881-6999 }", "drop"])
    try:
        run(["docker", "restart", "-t", "10", node.container])
        yield f"no BitTorrent ports for {node.name}, which starts again", set()
    finally:
        run(["docker", "exec", router, "nft", "flush", "chain", "ip", "router", "blocked"])


def router_restart(bed, rng):
    """A router, or a proxy, starts again: its mappings and connections are gone."""
    routers = sorted({n.router for n in bed.ready() if n.router})
    if not routers:
        return
    router = rng.choice(routers)
    behind = {n.name for n in bed.nodes if n.router == router}
    container = bed.project.container(router)
    run(["docker", "stop", "-t", "1", container])
    try:
        yield f"{router} is gone", behind
        time.sleep(rng.randint(1, 10))
    finally:
        run(["docker", "start", container])


def relay_loss(bed, rng):
    """The relay is killed, and later started again."""
    relay = bed.project.container("relay")
    run(["docker", "kill", "-s", "KILL", relay])
    try:
        # Who is reached by it alone is away until it is back; with one relay there is no other way.
        yield "the relay is gone", {n.name for n in bed.ready() if n.router and "proxy" in n.router}
        time.sleep(rng.randint(1, 60))
    finally:
        run(["docker", "start", relay])


def upgrade(bed, rng):
    """One node after the other is replaced by the other build, while they talk."""
    nodes = bed.ready()
    rng.shuffle(nodes)
    image = bed.next_image or bed.image()
    bed.state["image"] = image
    for node in nodes:
        bed.replace(node, {})
        bed.send(rng.choice(nodes), bed.new_line(node))
    yield f"all {len(nodes)} nodes became {image}, one after the other", set()


ACTIONS = {f.__name__.replace("_", "-"): f for f in (
    kill_9, restart, pause, disconnect, swap_address, clock, disk_full, outage, ports_blocked, router_restart,
    relay_loss, upgrade)}
