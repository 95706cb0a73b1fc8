"""What nodes cost: memory and processor time, from the kernel of this machine."""

import os


def cost(bed):
    """Memory (PSS, MiB) and processor seconds of each node, by name; empty when Docker runs elsewhere."""
    found = {}
    pids = {c["Name"].lstrip("/"): c["State"]["Pid"] for c in bed.project.containers()}
    ticks = os.sysconf("SC_CLK_TCK")
    for node in bed.nodes:
        pid = pids.get(node.container)
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
                sizes = {line.split(":")[0]: int(line.split()[1]) for line in file if line.endswith("kB\n")}
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        found[node.name] = {"mib": round(sizes["Pss"] / 1024, 1), "own_mib": round(
            (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024, 1),
            "cpu_s": round((int(fields[11]) + int(fields[12])) / ticks, 2)}
    return found


def spread(values):
    """Least, median and most."""
    ordered = sorted(values)
    return {"least": ordered[0], "median": ordered[len(ordered) // 2], "most": ordered[-1]} if ordered else None
