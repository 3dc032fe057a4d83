"""The table in Markdown, and everything that was measured as JSON."""

import statistics

from rows import GROWTH_WARM_UPS, MEMORY_BYTES_MAX, Outcome, Plan, Row
from server import EVENTS_PER_STREAM


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def span(rates: list[float]) -> str:
    return f"{figure(min(rates))}..{figure(max(rates))}"


def titles(row: Row, plan: Plan) -> tuple[str, str]:
    sizes = {"large": f"{plan.large_events:,}", "small": f"{plan.store_events:,}"}
    return row.title.format(**sizes), row.baseline.format(**sizes)


def target(row: Row, value: float) -> str:
    return f"p99 <= {value:g} ms" if row.is_latency else f"{value:g}x"


def reached(row: Row, outcome: Outcome) -> str:
    """What of the two targets was reached. Runs with problems reach nothing."""
    if outcome.problems() or not row.reaches(outcome, row.must):
        return "**no**"
    return "aim" if row.reaches(outcome, row.aim) else "must"


def lines_of(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]


def comparison(results: list[tuple[Row, Outcome]], plan: Plan) -> list[str]:
    """The medians, their ratio, and what it had to be."""
    rows = []
    for row, outcome in results:
        title, against = titles(row, plan)
        best = outcome.best_baseline()
        if row.is_latency:
            ours, theirs, ratio = f"p99 {figure(outcome.median())} ms", "–", "–"
        else:
            ours = f"{figure(outcome.median())} {row.unit}"
            theirs = f"{figure(best[1])} {row.unit}"
            theirs += f" ({best[0]})" if len(outcome.baselines) - len(outcome.beside) > 1 else ""
            ratio = f"{row.score(outcome):.2f}x"
        rows.append([title, against, theirs, ours, ratio, target(row, row.must),
                     target(row, row.aim), reached(row, outcome)])
    return lines_of(["workload", "baseline in the same run", "baseline", "eventstored", "ratio",
                     "must", "aim", "reached"], rows)


def processors(runs: list) -> str:
    """How many processors each side kept busy, as medians."""
    names = runs[0].cpu if runs else {}
    return ", ".join(f"{name} {statistics.median(run.cpu[name] for run in runs):.2f}"
                     for name in names) or "–"


def median_ms(runs: list, name: str) -> str:
    values = [getattr(run, name) for run in runs if getattr(run, name) is not None]
    return f"{statistics.median(values):.2f}" if values else "–"


def details(results: list[tuple[Row, Outcome]], plan: Plan) -> list[str]:
    """The spread of the runs, and what they cost."""
    rows = []
    for row, outcome in results:
        names = outcome.baselines
        theirs = "; ".join(f"{name} {span([run.rate for run in runs])}"
                           for name, runs in names.items()) or "–"
        best = outcome.best_baseline()
        rows.append([
            titles(row, plan)[0], outcome.rows_at_start, theirs,
            span([run.rate for run in outcome.ours]) + f" {row.unit}",
            median_ms(outcome.ours, "p50_ms"), median_ms(outcome.ours, "p99_ms"),
            processors(outcome.ours), processors(names[best[0]]) if best else "–",
            f"{outcome.peak_rss_bytes / 2**20:.0f} MiB"])
    return lines_of(["workload", "events at the start", "baseline, min..max",
                     "eventstored, min..max", "p50 ms", "p99 ms", "processors busy",
                     "baseline's", "daemon's peak RSS"], rows)


def conditions(machine: dict, settings: dict, plan: Plan) -> list[str]:
    others = ", ".join(f"{name} {value}" for name, value in settings.items()
                       if name not in ("server_version", "fsync", "synchronous_commit"))
    statement = "one statement" if plan.single_statement else "BEGIN, SELECT, INSERT, COMMIT"
    return [
        f"- {machine['cores']} cores, {machine['cpu']}, {machine['memory_gib']} GiB of memory, "
        f"{machine['system']}, kernel {machine['kernel']}, {machine['file_system']}; load average "
        f"at the start {machine['load_average_at_start']:.2f}",
        f"- a write of 8 KiB with fdatasync: median {machine['fsync_ms_median']} ms, p99 "
        f"{machine['fsync_ms_p99']} ms",
        f"- {machine['eventstored']}; PostgreSQL {settings['server_version']}, embedded, **fsync "
        f"{settings['fsync']}, synchronous_commit {settings['synchronous_commit']}**; {others}",
        f"- {plan.rounds} alternations of {plan.times.seconds:g} s, each after "
        f"{plan.times.warm_up_s:g} s of warm-up, medians; a new server for each row; "
        "250-byte JSON payloads; 10 % of the "
        f"appends to new streams; the library's transaction: {statement}",
        "- growth: the appends to existing streams go to " +
        ("a thousand of the run's own" if plan.growth_recent else
         f"{plan.store_events // EVENTS_PER_STREAM:,} that lie all over the store") +
        f"; each store is loaded {GROWTH_WARM_UPS} times unmeasured before",
    ]


def markdown(machine: dict, results: list[tuple[Row, Outcome]], plan: Plan) -> str:
    problems = [f"- {titles(row, plan)[0]}: {problem}" for row, outcome in results
                for problem in outcome.problems()]
    lines = conditions(machine, results[0][1].settings, plan)
    lines += ["", *comparison(results, plan), "", *details(results, plan), ""]
    peak = max(outcome.peak_rss_bytes for _, outcome in results)
    lines.append(f"The daemon's memory peaked at {peak / 2**20:.0f} MiB; it must stay under "
                 f"{MEMORY_BYTES_MAX >> 20} MiB.")
    return "\n".join([*lines, *(["", "Problems:", *problems] if problems else [])])


def as_json(machine: dict, results: list[tuple[Row, Outcome]], plan: Plan) -> dict:
    rows = {}
    for row, outcome in results:
        title, against = titles(row, plan)
        rows[row.key] = {
            "title": title, "baseline": against, "unit": row.unit, "must": row.must,
            "aim": row.aim, "score": row.score(outcome),
            "reached": reached(row, outcome).strip("*"), "median": outcome.median(),
            "ours": [run.as_json() for run in outcome.ours],
            "baselines": {name: [run.as_json() for run in runs]
                          for name, runs in outcome.baselines.items()},
            "rows_at_start": outcome.rows_at_start, "peak_rss_bytes": outcome.peak_rss_bytes,
            "problems": outcome.problems(),
        }
    return {"machine": machine, "settings": results[0][1].settings, "rounds": plan.rounds,
            "seconds": plan.times.seconds, "warm_up_s": plan.times.warm_up_s,
            "single_statement": plan.single_statement, "growth_recent": plan.growth_recent,
            "rows": rows}
