# mypy: ignore-errors
"""Replay the events of one sample in SANA-FE and print what it counts: run by the Python that has it, without sfnc.

Reads ``case.json``: ``cores``, ``per_tile``, the constants of a core, ``layers`` (name, core of every neuron, whether
it fires) and ``synapses`` (source layer, target layer, pairs). A neuron that fires has a bias above its threshold, so
the functional model is passed by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sanafe

FIRES, THRESHOLD = 2e12, 1e12
ARCH = """
architecture:
  name: replay
  attributes: {{link_buffer_size: 16, width: {width}, height: 1}}
  tile:
    - name: tile[0..{last_tile}]
      attributes: {{energy_north_hop: 0.0, latency_north_hop: 0.0, energy_east_hop: 0.0, latency_east_hop: 0.0,
        energy_south_hop: 0.0, latency_south_hop: 0.0, energy_west_hop: 0.0, latency_west_hop: 0.0}}
      core:
        - name: core[0..{last_core}]
          attributes: {{buffer_position: soma, max_neurons_supported: 1024}}
          axon_in: [{{name: in, attributes: {{energy_message_in: 0.0, latency_message_in: 0.0}}}}]
          synapse: [{{name: synapse, attributes: {{model: current_based, energy_process_spike: {synop_pj}e-12,
            latency_process_spike: {synop_ns}e-9}}}}]
          dendrite: [{{name: dendrite, attributes: {{model: accumulator, energy_update: 0.0, latency_update: 0.0,
            force_update: true}}}}]
          soma: [{{name: soma, attributes: {{model: leaky_integrate_fire, energy_access_neuron: 0.0,
            latency_access_neuron: {neuron_ns}e-9, energy_update_neuron: 0.0, latency_update_neuron: 0.0,
            energy_spike_out: 0.0, latency_spike_out: {event_ns}e-9}}}}]
          axon_out: [{{name: out, attributes: {{energy_message_out: 0.0, latency_message_out: 0.0}}}}]
"""


def main(folder: Path) -> None:
    """Print counts, energy and times as JSON."""
    case = json.loads((folder / "case.json").read_text())
    tiles = -(-case["cores"] // case["per_tile"])
    text = ARCH.format(width=tiles, last_tile=tiles - 1, last_core=case["per_tile"] - 1, **case["constants"])
    (folder / "arch.yaml").write_text(text)
    arch = sanafe.load_arch(folder / "arch.yaml")
    found = {}
    for timing in ("simple", "detailed"):
        network = sanafe.Network()
        groups = {}
        for layer in case["layers"]:
            group = network.create_neuron_group(layer["name"], len(layer["cores"]))
            for neuron, core, fires in zip(group.neurons, layer["cores"], layer["fires"], strict=True):
                bias = FIRES if fires else 0.0
                neuron.set_attributes(model_attributes={"threshold": THRESHOLD, "bias": bias, "leak_decay": 0.0})
                neuron.map_to_core(arch.tiles[core // case["per_tile"]].cores[core % case["per_tile"]])
            groups[layer["name"]] = group
        for source, target, pairs in case["synapses"]:
            weights = {"weight": [1.0] * len(pairs)}
            groups[source].connect_neurons_sparse(groups[target], weights, [tuple(p) for p in pairs])
        chip = sanafe.SpikingChip(arch)
        chip.load(network)
        done = chip.sim(1, timing_model=timing)
        found[timing] = done["sim_time"]
    found |= {"energy": done["energy"], "spikes": done["spikes"]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
