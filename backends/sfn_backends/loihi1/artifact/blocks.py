# mypy: ignore-errors
"""Build the network of this folder out of nengo-loihi's blocks, and step its emulator. Importing this does no work.

A neuron of N levels is N compartments: compartment k fires where sum + bias > threshold k, all times 64. Input of m
bits comes as m spikes a value; the weights of bit j are 2**j times as large. Nothing is left of a step in the next:
currents and voltages decay whole. A sample enters in every step, and layer l holds its integers l steps later.
"""

from __future__ import annotations

import numpy as np
from nengo_loihi.block import Axon, LoihiBlock, Synapse
from nengo_loihi.builder import Model
from nengo_loihi.builder.validate import validate_block
from nengo_loihi.emulator import EmulatorInterface
from nengo_loihi.inputs import SpikeInput

SCALE = 6  # bits that thresholds, biases and weights are shifted by
FULL_DECAY_U, FULL_DECAY_V = 4095, 4096
WIDEST = 2**23 - 1  # of a voltage
NEVER = (2**17 - 1) << SCALE  # the largest threshold, which a readout never reaches


class Network:
    """The blocks of all layers, wired; ``run`` gives the integers of every layer."""

    def __init__(self, manifest, tensors):
        """Make them from a folder's manifest and arrays. Raises nengo's BuildError where a block passes a core."""
        self.inputs, self.layers, self.tensors = manifest["inputs"], manifest["layers"], tensors
        self.by_name = {layer["name"]: layer for layer in self.layers}
        self.model = Model()
        self.blocks = {layer["name"]: [self._block(layer, *cut) for cut in layer["cuts"]] for layer in self.layers}
        self.spikes = {}  # by input and delay
        for layer in self.layers:
            for wire in layer["wires"]:
                self._connect(layer, wire)
        for blocks in self.blocks.values():
            for block in blocks:
                validate_block(block)
                self.model.add_block(block)
        for spikes in self.spikes.values():
            self.model.add_input(spikes)

    def utilization(self):
        """Return what nengo-loihi counts of every block: (used, most) of four resources, by layer."""
        return {name: [block.utilization() for block in blocks] for name, blocks in self.blocks.items()}

    def most_thresholds(self):
        """Return the most different thresholds of a core; the chip holds 16, which the emulator does not ask for."""
        return max(len(np.unique(b.compartment.vth)) for blocks in self.blocks.values() for b in blocks)

    # -- blocks ------------------------------------------------------------------------------------------------------
    def _block(self, layer, start, stop):
        n = (stop - start) * layer["levels"]
        block = LoihiBlock(n, label=f"{layer['id']} {start}")
        tau, bias = self._neurons(layer, start, stop)
        made = block.compartment
        made.vth = ((tau - 1) << SCALE).astype(np.int32).ravel() if tau is not None else np.full(n, NEVER, np.int32)
        made.bias = np.repeat(bias << SCALE, layer["levels"]).astype(np.int32)
        made.decay_u = np.full(n, FULL_DECAY_U, np.int32)
        made.decay_v = np.full(n, FULL_DECAY_V, np.int32)
        made.vmin, made.vmax = -WIDEST, WIDEST
        made.scale_u = made.scale_v = False
        return block

    def _neurons(self, layer, start, stop):
        """Return the thresholds ``(neurons, levels)``, None for a readout, and the biases of the neurons of a block."""
        neuron, shape = layer["neuron"], layer["shape"]
        array = {key: self.tensors[name].astype(np.int64) for key, name in neuron.items() if key != "kind"}
        none = np.zeros(stop - start, np.int64)
        if neuron["kind"] == "Readout":  # its offset is added where it is read
            return None, none
        if neuron["kind"] == "Or":  # fires with any spike: a max pool, or a value held back
            tau = np.ones((stop - start, layer["levels"]), np.int64)
        elif neuron["kind"] == "Uniform":
            theta, offset = (np.broadcast_to(array[k], shape).reshape(-1)[start:stop] for k in ("theta", "offset"))
            tau = theta[:, None] * np.arange(1, layer["levels"] + 1) - offset[:, None]
        else:
            table = array["table"]
            tau = np.broadcast_to(table, (*shape, table.shape[-1])).reshape(-1, table.shape[-1])[start:stop]
        bias = np.maximum(0, 2 - tau[:, 0])  # no threshold is below 2: one of 0 is none for the chip
        return tau + bias[:, None], bias

    # -- wires -------------------------------------------------------------------------------------------------------
    def _connect(self, layer, wire):
        source, target, weight = self._synapses(wire)
        order = np.argsort(target, kind="stable")
        source, target, weight = source[order], target[order], weight[order]
        for block, (start, stop) in zip(self.blocks[layer["name"]], layer["cuts"], strict=True):
            a, b = np.searchsorted(target, (start, stop))
            if a < b:
                self._into(block, wire, layer["levels"], source[a:b], target[a:b] - start, weight[a:b])

    def _synapses(self, wire):
        key = wire["synapses"]
        source, target = (self.tensors[f"{key}_{name}"].astype(np.int64) for name in ("source", "target"))
        if wire["weight"] is None:
            return source, target, np.ones(len(source), np.int64)
        weight = self.tensors[wire["weight"]].astype(np.int64).reshape(-1)
        return source, target, weight[self.tensors[f"{key}_position"].astype(np.int64)]

    def _into(self, block, wire, levels, source, target, weight):
        """Lead synapses into a block, in one group for all levels of a neuron, or one for each bit of an input."""
        order = np.argsort(source, kind="stable")
        source, target, weight = source[order], target[order], weight[order]
        read, first = np.unique(source, return_index=True)
        parts = [slice(a, b) for a, b in zip(first, [*first[1:], len(source)], strict=True)]
        if wire["kind"] == "plane":
            for bit in range(wire["lines"]):
                lists = [_spread(target[p], weight[p] << (SCALE + bit), levels) for p in parts]
                synapse = _synapse(block, len(read), lists, None, wire["dense"], bit - 1)
                self._from_input(wire, synapse, read, bit)
        elif wire["kind"] == "all":
            lists = [_spread(target[p], weight[p] << SCALE, levels) for p in parts]
            shared = np.repeat(np.arange(len(read)), wire["lines"])
            self._from_blocks(wire, _synapse(block, len(shared), lists, shared, wire["dense"], -1), read)
        else:
            lists = [(target[p] * levels + k, weight[p] << SCALE) for p in parts for k in range(wire["lines"])]
            self._from_blocks(wire, _synapse(block, len(lists), lists, None, False, -1), read)

    def _from_input(self, wire, synapse, read, bit):
        key = (wire["source"], wire["delay"])
        of = next(v for v in self.inputs if v["name"] == wire["source"])
        n = int(np.prod(of["shape"]))
        if key not in self.spikes:
            self.spikes[key] = SpikeInput(n * of["bits"])
        to = np.full(n * of["bits"], -1)
        to[read * of["bits"] + bit] = np.arange(len(read))
        self.spikes[key].add_axon(_axon(synapse, to))

    def _from_blocks(self, wire, synapse, read):
        """Lead the spikes of the neurons ``read`` to their lists: level k of the i-th of them to axon i * lines + k."""
        name = wire["source"] + (f" + {wire['delay']}" if wire["delay"] else "")
        axon_of = np.full(int(np.prod(self.by_name[name]["shape"])), -1)
        axon_of[read] = np.arange(len(read)) * wire["lines"]
        for block, (start, stop) in zip(self.blocks[name], self.by_name[name]["cuts"], strict=True):
            first = axon_of[start:stop]
            if (first >= 0).any():
                to = np.where(first[:, None] >= 0, first[:, None] + np.arange(wire["lines"]), -1)
                block.add_axon(_axon(synapse, to.reshape(-1)))

    # -- run ---------------------------------------------------------------------------------------------------------
    def run(self, codes):
        """Return the integers ``(n, *shape)`` of every layer for input codes by name."""
        n = len(next(iter(codes.values())))
        for (name, delay), spikes in self.spikes.items():
            bits = next(v["bits"] for v in self.inputs if v["name"] == name)
            for t, sample in enumerate(codes[name].reshape(n, -1).astype(np.int64)):
                planes = (sample[:, None] >> np.arange(bits)) & 1
                spikes.add_spikes(t + delay + 1, np.flatnonzero(planes.reshape(-1)))
        shown = [layer for layer in self.layers if not layer["held"]]
        values = {layer["name"]: np.zeros((n, int(np.prod(layer["shape"]))), np.int64) for layer in shown}
        emulator = EmulatorInterface(self.model, seed=0)
        emulator.compartment.strict = emulator.synapses.strict = True  # an overflow is an error
        slices = emulator.block_info.slices
        for row in range(n + max(layer["depth"] for layer in shown)):
            emulator.step()
            for layer in shown:
                if 0 <= row - layer["depth"] < n:
                    values[layer["name"]][row - layer["depth"]] = self._read(layer, emulator.compartment, slices)
        return {layer["name"]: values[layer["name"]].reshape(n, *layer["shape"]) for layer in shown}

    def _read(self, layer, state, slices):
        """Return the integers of a layer's neurons after a step."""
        blocks = [slices[block] for block in self.blocks[layer["name"]]]
        if layer["neuron"]["kind"] == "Readout":
            offset = self.tensors[layer["neuron"]["offset"]].astype(np.int64)
            sums = np.concatenate([state.voltage[s] for s in blocks]).astype(np.int64) >> SCALE
            return sums + np.broadcast_to(offset, layer["shape"]).reshape(-1)
        return np.concatenate([state.spiked[s] for s in blocks]).reshape(-1, layer["levels"]).sum(axis=1)


def _spread(target, weight, levels):
    """Return compartments and weights of a list: every target's compartments, with the same weight."""
    return (target[:, None] * levels + np.arange(levels)).reshape(-1), np.repeat(weight, levels)


def _synapse(block, n_axons, lists, shared, dense, exponent):
    synapse = Synapse(n_axons)
    synapse.indices = [np.asarray(i, np.int32)[None] for i, _ in lists]
    synapse.weights = [np.asarray(w, np.int32)[None] for _, w in lists]
    synapse.axon_to_weight_map = shared
    synapse.format(
        compression=3 if dense else 0,
        idx_bits=synapse.idx_bits(),
        fanout_type=1,
        n_synapses=63,
        weight_bits=7,
        weight_exp=exponent,
    )
    block.add_synapse(synapse)
    return synapse


def _axon(synapse, to):
    axon = Axon(int((to >= 0).sum()))
    axon.target = synapse
    axon.set_compartment_axon_map(target_axons=to)
    return axon
