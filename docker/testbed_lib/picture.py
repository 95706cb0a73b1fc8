"""The mesh as a picture: SVG, or DOT for graphviz."""

import math
from xml.sax.saxutils import escape

COLOURS = {"quic": "#2a7", "tcp": "#27c", "proxy": "#c72", "relay": "#a3c"}


def svg(bed, rows):
    """Nodes on a circle; a line for each link, a dashed one where they talk through others."""
    size, radius = 720, 270
    middle = size / 2
    at = {}
    for i, node in enumerate(bed.nodes):
        angle = 2 * math.pi * i / len(bed.nodes) - math.pi / 2
        at[node.name] = (middle + radius * math.cos(angle), middle + radius * math.sin(angle), angle)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size + 40}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for row in sorted(rows, key=lambda r: r["path"] != "others"):
        if not row["path"]:
            continue
        (x1, y1, _), (x2, y2, _) = at[row["a"]], at[row["b"]]
        dashed = ' stroke-dasharray="2 6"' if row["path"] == "others" else ""
        colour = COLOURS.get(row["path"], "#bbb")
        label = escape(f"{row['a']} - {row['b']}: {row['path']} {', '.join(row['found_by'])}")
        out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}>'
                   f'<title>{label}</title></line>')
    for node in bed.nodes:
        x, y, angle = at[node.name]
        anchor = "start" if math.cos(angle) > 0.3 else "end" if math.cos(angle) < -0.3 else "middle"
        tx, ty = x + 14 * math.cos(angle), y + 14 * math.sin(angle) + 4
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{"#ccc" if node.waits else "#333"}"/>')
        out.append(f'<text x="{tx:.1f}" y="{ty:.1f}" text-anchor="{anchor}">{escape(node.name)} '
                   f'<tspan fill="#888">{escape(node.kind)}</tspan></text>')
    x = 20
    for name, colour in list(COLOURS.items()) + [("through others", "#bbb")]:
        out.append(f'<line x1="{x}" y1="{size + 20}" x2="{x + 24}" y2="{size + 20}" stroke="{colour}" stroke-width="3"/>'
                   f'<text x="{x + 30}" y="{size + 24}">{name}</text>')
        x += 100
    return "\n".join(out + ["</svg>"]) + "\n"


def dot(bed, rows):
    """For `dot -Tpng`, or rather `circo`."""
    out = ["graph mesh {", '  layout=circo; node [shape=box, style=rounded, fontname="sans-serif"];']
    out += [f'  "{n.name}" [label="{n.name}\\n{n.kind}"];' for n in bed.nodes]
    for row in rows:
        if row["path"] and row["path"] != "others":
            out.append(f'  "{row["a"]}" -- "{row["b"]}" [color="{COLOURS.get(row["path"], "#bbb")}", '
                       f'tooltip="{row["path"]} {", ".join(row["found_by"])}"];')
    return "\n".join(out + ["}"]) + "\n"
