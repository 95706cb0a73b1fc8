#!/usr/bin/python3
"""libtorrent DHT nodes on loopback, each on an address of its own (127.0.0.10 and up), driven through stdin.

Usage: dht_swarm.py NODES [HOST:PORT]
    With HOST:PORT, every node knows only that one; without, they know each other and nobody else.
Commands, one a line; the answers are one JSON object a line:
    announce HASH        the first node announces itself under HASH
    get HASH SECONDS     the second node looks HASH up for at most so long, or until it found somebody
    tables               nodes in the routing table of each node
    quit
The first line says {"nodes": [[host, port], ...]}, when all listen.
"""
import json
import os
import select
import sys
import tempfile
import time

import libtorrent as lt

BASE = {
    "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification,
    "enable_dht": True,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_upload_rate_limit": 1_000_000,
}


def say(answer):
    print(json.dumps(answer), flush=True)


def start(number):
    return lt.session({**BASE, "listen_interfaces": f"127.0.0.{10 + number}:0"})


def tables(sessions):
    for session in sessions:
        session.post_dht_stats()
    time.sleep(0.3)
    counts = []
    for session in sessions:
        count = 0
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_stats_alert):
                count = sum(bucket["num_nodes"] for bucket in alert.routing_table)
        counts.append(count)
    return counts


def announce(session, info_hash):
    parameters = lt.add_torrent_params()
    parameters.info_hashes = lt.info_hash_t(lt.sha1_hash(info_hash))
    parameters.save_path = tempfile.gettempdir()
    session.add_torrent(parameters).force_dht_announce()


def get(session, info_hash, patience):
    session.pop_alerts()
    begin, asked, found = time.monotonic(), 0.0, set()
    while time.monotonic() - begin < patience and not found:
        if time.monotonic() - asked > 3:
            session.dht_get_peers(lt.sha1_hash(info_hash))
            asked = time.monotonic()
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_get_peers_reply_alert):
                found.update(f"{host}:{port}" for host, port in alert.peers())
    return sorted(found), time.monotonic() - begin


def main():
    count = int(sys.argv[1])
    entry = None
    if len(sys.argv) > 2:
        host, port = sys.argv[2].rsplit(":", 1)
        entry = (host, int(port))
    # One set of addresses per process, so that swarms do not share nodes.
    offset = os.getpid() % 5 * 40
    sessions = [start(offset + number) for number in range(count)]
    nodes = [(f"127.0.0.{10 + offset + number}", session.listen_port()) for number, session in enumerate(sessions)]
    for turn in range(3):
        for number, session in enumerate(sessions):
            if entry:
                session.add_dht_node(entry)
            else:
                session.add_dht_node(nodes[0])
                session.add_dht_node(nodes[(number * 7 + 3 + turn) % count])
        time.sleep(1)
    say({"nodes": nodes})
    while True:
        # The parent's death closes stdin.
        select.select([sys.stdin], [], [])
        words = sys.stdin.readline().split()
        if not words or words[0] == "quit":
            break
        if words[0] == "announce":
            announce(sessions[0], bytes.fromhex(words[1]))
            say({"announced": f"{nodes[0][0]}:{nodes[0][1]}"})
        elif words[0] == "get":
            found, seconds = get(sessions[1], bytes.fromhex(words[1]), float(words[2]))
            say({"found": found, "seconds": round(seconds, 2)})
        elif words[0] == "tables":
            say({"tables": tables(sessions)})
    # Do not wait for the sessions to end, which takes long.
    os._exit(0)


main()
