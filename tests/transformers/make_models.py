"""Export the networks of `networks.py` with both of torch's exporters: how the files in this folder were made.

    python tests/transformers/make_models.py                     the committed ones, into this folder
    python tests/transformers/make_models.py --all FOLDER        every network, exporter and batch, into FOLDER

Needs torch and onnxscript. Names end in the exporter (`script` or `dynamo`) and the batch (a number, or `n` for any).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from pathlib import Path

import onnx
import torch

from .networks import NETWORKS

HERE = Path(__file__).parent
KEPT = (
    "encoder_pre_bf_gelu-script-n", "encoder_post_tf_relu-dynamo-n", "encoder_post_tf_relu-script-1", "mha_tf-script-n",
    "mha_masked-dynamo-2", "sdpa_masked-dynamo-n", "sdpa_causal-script-n", "vit-script-n", "vit_fused-dynamo-n",
    "swin-script-n", "decoder-dynamo-n", "decoder-script-n", "groupnorm-script-n", "instancenorm-dynamo-n",
    "mixer-dynamo-n", "kwt_small-script-n", "einsum-script-n",
)  # fmt: skip


def names() -> list[str]:
    """Every network under every exporter with every batch."""
    return [f"{n}-{e}-{b}" for n in NETWORKS for e in ("script", "dynamo") for b in ("n", "1", "2")]


def export(name: str, folder: Path) -> Path:
    """Write one network with seeded weights, its normalisations a little off their defaults."""
    network, exporter, batch = name.split("-")
    make, shape = NETWORKS[network]
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    n = 2 if batch == "n" else int(batch)
    path, x = folder / f"{name}.onnx", torch.randn(n, *shape)
    options: dict = {"dynamo": exporter == "dynamo", "input_names": ["x"], "output_names": ["y"], "verbose": False}
    if exporter == "dynamo":
        options["dynamic_shapes"] = ({0: torch.export.Dim("n")},) if batch == "n" else None
        options["external_data"] = False
    else:
        options["dynamic_axes"] = {"x": {0: "n"}, "y": {0: "n"}} if batch == "n" else None
        options["opset_version"] = 17
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(path), **options)
    onnx.save(without_notes(onnx.load(path)), path)
    return path


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes, which name files of the machine that it ran on."""
    del model.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    return model


def main() -> None:
    """Export what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", help="names that hold this text")
    chosen = parser.parse_args()
    for name in names() if chosen.all else KEPT:
        if chosen.only in name:
            try:
                print(export(name, chosen.all or HERE).stat().st_size, name, flush=True)
            except Exception as error:  # an exporter may not know a network: say so, go on; what is kept has to be made
                if not chosen.all:
                    raise
                print(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)


if __name__ == "__main__":
    main()
