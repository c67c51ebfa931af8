"""What verify and eval found of time, in words: the same lines in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def step_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what ``eval.json`` says of every step, none for a network that answers at once."""
    t = evaluation.get("time")
    if t is None:
        return []
    kind = "top1" if "top1" in t else "agreement"
    name = {"top1": "top-1", "agreement": "agreement with the float network"}[kind]
    found = [f"{name} after each of {t['steps']} steps, %: {', '.join(f'{100 * v:.2f}' for v in t[kind])}",
             f"{name} at one timestep: {100 * t['at_once'][kind]:.2f} %"]  # fmt: skip
    if t["margin"] is not None:
        early = t[f"early_{kind}"]
        found.append(f"early answers (lead of {t['margin']}): {t['mean_steps']:.2f} steps on average, "
                     f"{name} {100 * early:.2f} %")  # fmt: skip
    return found


def time_lines(proof: Mapping[str, Any]) -> list[str]:
    """Return what ``proof.json`` says of time, none for a network that answers at once."""
    found = []
    if "time" in proof:
        t = proof["time"]
        steps = f"after {t['timesteps']} + {t['settle']} steps"
        why = {"quiet": f", {t['quiet']} quiet in the last step, which proves it",
               "layer after layer": ", which the order of the layers proves",
               "none": " (spikes are not taken back, so nothing promises it)"}[t["certificate"]]  # fmt: skip
        found.append(f"equals the network at one timestep {steps}: {t['equal']} of {t['samples']} samples{why}")
    for name, target in proof["targets"].items():
        shown = target.get("potentials")
        if shown is not None and shown["compared"]:
            found.append(
                f"{name}: {shown['compared']:,} potentials after the last step, {shown['different']} different"
            )
    if "against" in proof:
        a = proof["against"]
        other = "" if a["same_network"] else " (another network at one timestep)"
        found.append(f"against {a['build']}{other}: {a['different']} of {a['compared']:,} counts differ, "
                     f"{a['equal']} of {a['samples']} samples equal")  # fmt: skip
    return found
