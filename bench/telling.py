# SPDX-License-Identifier: Apache-2.0
"""How figures are written, and what they are measured against."""

AT_LEAST, AT_MOST = ">=", "<="


def verdict(value, sense, must, aim):
    meets = (lambda bound: value >= bound) if sense == AT_LEAST else (lambda bound: value <= bound)
    return "aim" if meets(aim) else "must" if meets(must) else "MISSED"


def number(value):
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(s, form=lambda value: f"{value:.3f}"):
    return "-" if s is None else f"{form(s['median'])} [{form(s['q1'])} {form(s['q3'])}]"


def print_grid(rows, markdown=False):
    if markdown:
        rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
        for row in rows:
            print("| " + " | ".join(cell.replace("  ", "&nbsp; ") for cell in row) + " |")
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
