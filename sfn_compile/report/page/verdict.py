"""What a reader wants to know first: is it proved, how good is it, does it fit, what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..headlines import quality_of
from ..scores import score_of
from ..units import decibel, percent
from .section import Known, Section, View

Row = dict[str, str]
OUT = "OUT"
LOST = 0.01  # of the score: a point is called a loss


def _view(known: Known) -> View | None:
    report = known.report
    rows = [_proved(known.of("proof")), _quality(known), *_gates(known.of("eval")), *_fits(known.of("fit"))]
    return {"rows": rows, "next": _next_step(known), "report": report, "versions": known.facts["versions"],
            "e": report["energy"]["totals"], "t": report["totals"]}  # fmt: skip


def _row(state: str, title: str, said: str) -> Row:
    """``state``: ``good``, ``bad``, or ``open`` where it is not known yet."""
    return {"state": state, "title": title, "said": said}


def _proved(proof: Mapping[str, Any] | None) -> Row:
    if proof is None:
        return _row("open", "Not proved yet", "no target has been executed and compared")
    same = sum(row["proved"] for row in proof["targets"].values())
    title = f"Proved on {same} of {len(proof['targets'])} targets"
    changed = f"; changed, missing or strange: {', '.join(proof['files_changed'])}" if proof["files_changed"] else ""
    compared, different = (sum(row[key] for row in proof["targets"].values()) for key in ("compared", "different"))
    said = f"{compared:,} integers compared on {proof['samples']} samples, {different:,} different{changed}"
    return _row("good" if proof["proved"] else "bad", title, said)


def _quality(known: Known) -> Row:
    found, kept = known.of("eval"), known.report["kept_aside"]
    if found is not None:
        on = f"{quality_of(found)}, on {found['data']['samples']:,} samples of {found['data']['source']}"
        score = score_of(found)
        if score is None:
            return _row("good", "Measured", on)
        what, before, after = score
        return _row("good" if before - after < LOST else "bad", f"{percent(after, 2)} {what}", on)
    if not kept["samples"]:
        return _row("open", "Accuracy unknown", f"no samples were kept aside: {kept['reason']}")
    agrees = (
        "" if kept["agreement"] is None else f"{percent(kept['agreement'])} of the answers are the float network's, "
    )
    db = "exact" if kept["exact"] else decibel(kept["sqnr_db"], "", " dB")
    bad = any(w["code"] == "SFN407" for w in known.report["warnings"])
    title = "Far from the float network" if bad else "Close to the float network"
    return _row(
        "bad" if bad else "good", title, f"{agrees}signal to noise {db}, on {kept['samples']} samples kept aside"
    )


def _gates(found: Mapping[str, Any] | None) -> Iterator[Row]:
    gates = (found or {}).get("gates", ())
    if gates:
        failed = [g for g in gates if not g["passed"]]
        said = "; ".join(f"{g['gate']}: {g['said']}" for g in failed or gates)
        yield _row("bad" if failed else "good", f"{len(gates) - len(failed)} of {len(gates)} gates passed", said)


def _fits(fit: Mapping[str, Any] | None) -> Iterator[Row]:
    if fit is not None:
        title = f"{'Fits' if fit['fits'] else 'Does not fit'} {fit['chip']['title']}"
        said = "; ".join(f"{f['code']} {f['what']}" for f in fit["findings"][:2]) or "as far as is known"
        yield _row("good" if fit["fits"] else "bad", title, said)


def _next_step(known: Known) -> Row:
    """Return the command to run next, and why."""
    proof, found, bisect = known.of("proof"), known.of("eval"), known.of("bisect")
    bad = any(w["code"] == "SFN407" for w in known.report["warnings"]) or any(
        not g["passed"] for g in (found or {}).get("gates", ())
    )
    if bisect is not None and not bisect["within"]:
        return _row("bad", f"compile again with {bisect['try'][0]}", f"layer {bisect['layer']} loses most")
    if bad:
        return _row("bad", f"sfnc bisect {OUT} --data FILE", "it names the layer that loses most, and what to change")
    if proof is None:
        return _row("open", f"sfnc verify {OUT}", "it executes every target and compares every integer")
    if not proof["proved"]:
        return _row("bad", "read the section Proof", "it names what differs")
    if found is None:
        return _row("open", f"sfnc eval {OUT} --data FILE", "it measures accuracy beside the float network")
    targets = [name for name, row in known.report["targets"].items() if "refused" not in row and name != "sim"]
    if not targets:
        return _row("good", "sfnc compile MODEL --target nir,lava,onnx", "targets that run outside the simulator")
    return _row("good", f"take {OUT}/{targets[0]}", "the files are proved; the guide says how they are run")


VERDICT = Section("verdict", "", _view, ("eval", "proof", "bisect", "fit"))
