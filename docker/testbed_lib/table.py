"""Who reaches whom, by which path, found by which source, and how long the first message took."""

import json

from .bed import each, Node

SIGNS = {"quic": "Q", "tcp": "T", "proxy": "P", "relay": "R", "punched": "H"}
# Which of two sides' reports is the more specific.
RANK = {"quic": 1, "tcp": 2, "proxy": 3, "relay": 4}
LEGEND = "Q QUIC  T TCP  P through a proxy  R through a relay  o no link: through other members  . not at all"


def source(path):
    """Short: what found it."""
    found = path.get("source") or "incoming"
    if "://" in found:
        return found.split(":", 1)[0] + "-tracker"
    return found


def collect(bed):
    """A row for each pair, with the report of each direction's node."""
    members = each(bed.nodes, Node.members)
    logs = each(bed.nodes, Node.log)
    texts = {name: {text for _, text in log or []} for name, log in logs.items()}
    rows = []
    for i, a in enumerate(bed.nodes):
        for b in bed.nodes[i + 1:]:
            paths = [p for p in (members[a.name].get(b.name, {}).get("path"),
                                 members[b.name].get(a.name, {}).get("path")) if p]
            received = [any(t.endswith(f" of {x.name}") for t in texts[y.name]) for x, y in ((a, b), (b, a))]
            row = {"a": a.name, "b": b.name, "kinds": sorted([a.kind, b.kind]), "path": None, "found_by": [],
                   "rtt_ms": None, "talk": all(received), "first_message_s": None,
                   "waits": sorted({n.waits for n in (a, b) if n.waits})}
            if paths:
                # Behind a proxy one side sees TCP only.
                path = max(paths, key=lambda p: RANK.get(p["kind"], 0))
                row["path"], row["via"] = path["kind"], path.get("via")
                found = {source(p) for p in paths} - {"incoming"}
                row["found_by"] = sorted(found) or ["incoming"]
                row["rtt_ms"] = round(min(p["rtt_ms"] for p in paths), 2)
            elif all(received):
                row["path"] = "others"
            firsts = [bed.state["first"].get(f"{x} {y}") for x, y in ((a.name, b.name), (b.name, a.name))]
            if all(f is not None for f in firsts):
                row["first_message_s"] = max(firsts)
            rows.append(row)
    return rows


def sign(row):
    """One letter for a path."""
    if row["path"] == "others":
        return "o"
    return SIGNS.get(row["path"], "?") if row["path"] else "."


def faults(rows):
    """The pairs that do not talk and should."""
    return [f"{r['a']} and {r['b']}" for r in rows if not r["talk"] and not r["waits"]]


def show(bed, rows, every=False):
    """The table as text."""
    at = {}
    for row in rows:
        at[row["a"], row["b"]] = at[row["b"], row["a"]] = row
    names = [n.name for n in bed.nodes]
    wide = max(len(n) for n in names)
    lines = [" " * (wide + 20) + " ".join(f"{i:>2}" for i in range(1, len(names) + 1))]
    for i, node in enumerate(bed.nodes, 1):
        cells = [" -" if node.name == other else f" {sign(at[node.name, other])}" for other in names]
        lines.append(f"{i:>2} {node.name:<{wide}} {node.kind:<16}" + " ".join(cells)
                     + (f"   not yet: {node.waits}" if node.waits else ""))
    lines += [LEGEND, ""]
    if every:
        lines.append(f"{'pair':<{2 * wide + 3}} {'path':<7} {'found by':<34} {'rtt ms':>8} {'first message s':>16}")
        lines += [one(r, f"{r['a']:<{wide}} - {r['b']:<{wide}}", wide) for r in rows]
    else:
        groups = {}
        for row in rows:
            groups.setdefault(tuple(row["kinds"]), []).append(row)
        lines.append(f"{'sides':<33} {'pairs':>5}  {'paths':<22} {'found by':<40} {'first message s':>16}")
        for kinds, group in groups.items():
            lines.append(summary(kinds, group))
    return "\n".join(lines)


def one(row, name, wide):
    """A line for a pair."""
    rtt = "" if row["rtt_ms"] is None else f"{row['rtt_ms']:.1f}"
    first = "" if row["first_message_s"] is None else f"{row['first_message_s']:.2f}"
    path = row["path"] or ("not yet" if row["waits"] else "none")
    return f"{name:<{2 * wide + 3}} {path:<7} {', '.join(row['found_by']):<34} {rtt:>8} {first:>16}"


def count(names):
    """3 quic, 1 tcp."""
    counts = {w: names.count(w) for w in names}
    return ", ".join(f"{n} {w}" for w, n in sorted(counts.items(), key=lambda c: -c[1]))


def summary(kinds, group):
    """A line for all pairs of two kinds of side."""
    paths = count([r["path"] or ("not yet" if r["waits"] else "none") for r in group])
    found = count([f for r in group for f in r["found_by"]])
    firsts = sorted(r["first_message_s"] for r in group if r["first_message_s"] is not None)
    times = f"{firsts[0]:.1f} to {firsts[-1]:.1f}" if firsts else ""
    return f"{kinds[0] + ' - ' + kinds[1]:<33} {len(group):>5}  {paths:<22} {found:<40} {times:>16}"


def as_json(rows):
    """One object."""
    return json.dumps({"pairs": rows, "faults": faults(rows)})
