"""Where the time of a decoded token goes."""

from __future__ import annotations

from rich.box import MARKDOWN
from rich.table import Table

from contests.common import NANO, Bar, Setting, console

CASES = (("SmolLM2-135M", 128, 96), ("SmolLM2-135M", 8, 96), ("nano", 512, 60), ("nano", 8, 60))
"""Model, rows, tokens that each row holds."""


def profile(setting: Setting) -> list[Bar]:
    """Milliseconds a step, the median of many; beside it what the same matrices take by torch.mm and nothing else."""
    parts = ("step", "products", "attention", "norms, residuals and gates", "draw", "other", "torch.mm alone")
    table = Table("model", "rows", "tokens held", *parts, title="one token a row, ms", box=MARKDOWN)
    for name, rows, held in CASES:
        with setting.ours() as ours:
            ours.ask(do="load", model=NANO if name == "nano" else setting.model, threads=setting.threads)
            seconds = ours.ask(do="decode_profile", rows=rows, held=held)["parts"]
            allowed = sorted(ours.ask(do="ceiling", rows=rows)["seconds"] for _ in range(9))[4]
        taken = [seconds[part] for part in parts[:-1]]
        table.add_row(name, str(rows), str(held), *(f"{1000 * each:.2f}" for each in (*taken, allowed)))
    console.print(table)
    return []
