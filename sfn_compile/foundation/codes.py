"""Every diagnostic code, once: title, severity, exit status, and the help page that ``sfnc explain`` prints."""

from __future__ import annotations

from .code import (
    EXIT_BUG,
    EXIT_CHECK_FAILED,
    EXIT_ENVIRONMENT,
    EXIT_INPUT,
    EXIT_OK,
    EXIT_PIPE,
    EXIT_TARGET,
    EXIT_USAGE,
    Code,
)
from .codes_of_use import CODES_OF_USE

__all__ = [
    "CODES", "EXIT_BUG", "EXIT_CHECK_FAILED", "EXIT_ENVIRONMENT", "EXIT_INPUT", "EXIT_OK", "EXIT_PIPE", "EXIT_TARGET",
    "EXIT_USAGE", "Code",
]  # fmt: skip

CODES: dict[str, Code] = {
    # -- the model file ------------------------------------------------------------------------------------------
    "SFN101": Code(
        EXIT_INPUT,
        "the model file cannot be read",
        "The file does not exist, is truncated, or is not valid ONNX: a node reads what nothing computes, two values "
        "have one name, an attribute has the wrong type, or the opset is newer than the installed onnx package. Check "
        "it with `onnx.checker.check_model`, and export it again.",
    ),
    "SFN102": Code(
        EXIT_INPUT,
        "external weight data is missing",
        "The model keeps its weights in a second file (ONNX external data) that is not beside it or is too short. "
        "Copy the data file next to the .onnx file under the name that the message gives.",
    ),
    "SFN103": Code(
        EXIT_INPUT,
        "a shape cannot be pinned",
        "sfnc compiles one fixed network: every axis but the batch axis needs a number. Export with fixed height and "
        "width, or pin them with `--input-shape name=1,3,32,32`.",
    ),
    "SFN104": Code(
        EXIT_INPUT,
        "weights or values are not finite",
        "A weight, or a value that the float network computes, is NaN or infinite, so the network computes nothing "
        "meaningful. Usually training diverged or a half-precision export overflowed; look at the named initializer "
        "or value.",
    ),
    "SFN105": Code(
        EXIT_INPUT,
        "the model's inputs or outputs are not usable",
        "Every input that an output depends on is a tensor of numbers (floats or integers) whose first axis is the "
        "batch, the same batch for all of them. Other inputs are ignored. There must be at least one output, and a "
        "layer between it and the inputs. The message says which part does not hold.",
    ),
    "SFN106": Code(
        EXIT_INPUT,
        "the model does not run",
        "onnxruntime, which serves as the float reference, refuses the model. The message quotes it. A model that "
        "does not run cannot be measured, so it is not compiled.",
    ),
    "SFN107": Code(
        EXIT_INPUT,
        "the imported network differs from the original",
        "Before compiling, every value of the imported network is compared with what onnxruntime computes from the "
        "file you gave. Here one differs, so nothing was compiled. Please report this with the model.",
    ),
    "SFN108": Code(
        EXIT_INPUT,
        "the model asks for more memory than a network needs",
        "A shape or a constant that the file computes would hold more numbers than sfnc allows (2^26 per value and "
        "sample). A damaged or hostile file can ask for any size, so nothing of it is allocated. If the model is "
        "what you want, export it for smaller inputs, or with large constants stored instead of computed.",
    ),
    # -- operators -----------------------------------------------------------------------------------------------
    "SFN201": Code(
        EXIT_INPUT,
        "operator not supported",
        "The node's operator has no integer form in sfnc yet (see `sfnc ops`). No layer is ever dropped or left in "
        "floating point silently, so the model is refused as a whole. All such nodes are listed in one message. At the "
        "end of a network arithmetic without weights, such as box decoding, is left to the host; the message says what "
        "kept a node from that.",
    ),
    "SFN202": Code(
        EXIT_INPUT,
        "operator used in an unsupported way",
        "The operator is known but this attribute, shape or combination has no exact integer form. The message names "
        "the rule, the value found and the nearest change that would be accepted.",
    ),
    "SFN203": Code(
        EXIT_INPUT,
        "an operator mixes samples of the batch",
        "The first axis is the batch: every sample must be computed alone. A Reshape, Transpose, Concat or reduction "
        "that moves or merges axis 0 cannot be compiled.",
    ),
    # -- data ----------------------------------------------------------------------------------------------------
    "SFN301": Code(
        EXIT_INPUT,
        "the data file cannot be read",
        "DATA is an .npz whose arrays are named like the model's inputs (`x` also serves for a single input), first "
        "axis = samples, plus optional `labels` (or `y`); or an .npy for a single input.",
    ),
    "SFN302": Code(
        EXIT_INPUT,
        "the data has no array for an input of the model",
        "Name each array like the model's input that it is for, or `x` when the model has a single input.",
    ),
    "SFN303": Code(
        EXIT_INPUT,
        "the data has the wrong shape",
        "Each sample must have exactly the shape of the model's input without the batch axis, and every input needs "
        "the same number of samples: sample i of each belongs together.",
    ),
    "SFN304": Code(
        EXIT_INPUT,
        "the data has the wrong type",
        "Values must be numbers of the model's input type (integer images are accepted for a float input).",
    ),
    "SFN305": Code(
        EXIT_INPUT, "the data holds NaN or infinity", "Remove or repair the samples that the message counts."
    ),
    "SFN306": Code(EXIT_INPUT, "the data is empty", "At least one sample is needed; 512 or more calibrate well."),
    "SFN307": Code(
        EXIT_INPUT,
        "labels are missing or do not fit",
        "Labels (array `labels` or `y`) are needed for accuracy in `sfnc eval`, for the gates --max-drop and "
        "--min-accuracy, and for --objective accuracy; nothing else looks at them. One class per sample (whole "
        "numbers of any type, 0 and 1 "
        "or bools for a single score), one-hot rows, a mask with a class per position of a map (255, -1 and -100 are "
        "positions that nobody labelled), 0 and 1 for every number of the output, or, for a regression, real targets "
        "in the shape of the output. The message names the array, what does not fit and the change.",
    ),
    "SFN308": Code(
        EXIT_OK,
        "calibrated on generated inputs",
        "Without --calib the thresholds are chosen on random inputs. The network compiles, but its accuracy is not "
        "what real data would give. Pass 100 or more real samples with --calib.",
        severity="warning",
    ),
    "SFN309": Code(
        EXIT_OK,
        "few calibration samples",
        "Fewer than 100 samples leave the thresholds noisy. 512 samples of the training data are a good number.",
        severity="warning",
    ),
    "SFN310": Code(
        EXIT_OK,
        "constant calibration data",
        "An input is the same in every calibration sample, or half of its channels hold one number. Thresholds fitted "
        "to a constant fit nothing else. Often the samples were prepared wrongly: cast to integers too early, or one "
        "sample repeated.",
        severity="warning",
    ),
    "SFN311": Code(
        EXIT_OK,
        "data unlike the calibration data",
        "The samples differ from those that the thresholds were chosen on by more than those differ from each other: "
        "in the mean or the spread of their input codes, or in how many codes of a layer lie at an end of their range. "
        "Usually one of the two was prepared differently (another scale, another mean, channels in another order). "
        "Prepare both alike, or calibrate on such data.",
        severity="warning",
    ),
    "SFN312": Code(
        EXIT_OK,
        "an input channel with too few codes",
        "Nine tenths of the values of this channel fall into a few codes: an outlier makes its step long, it shares "
        "the step with a channel of another scale where a layer needs one step for both, or it is far from 0 and the "
        "layer behind it takes no offset. What the network reads from this channel is lost. Take out the outliers, "
        "scale the channels alike in front of the first layer, or ask for more `--input-levels`.",
        severity="warning",
    ),
    "SFN315": Code(
        EXIT_INPUT,
        "an event recording cannot be read",
        "Recordings of event cameras are read from N-MNIST's .bin, AEDAT4 (`pip install 'sfnc[events]'`), .npz and "
        ".npy: arrays, or fields of records, x, y, polarity (0 off, 1 on) and t_us in microseconds, an event an entry; "
        "an .npz with `offsets` holds several, with `labels` beside them. The message names the file and what is "
        "damaged or missing.",
    ),
    "SFN316": Code(
        EXIT_INPUT,
        "events do not fit the model's input",
        "The input has to be frames of counts: (C, H, W), (T, C, H, W) or (T C, H, W) with `--frames T`, where C is 2 "
        "(off, on) or 1. Every event has to lie on the sensor, which is as large as the input unless `--sensor HxW` "
        "says another size. The message names the recording and the first event outside.",
    ),
    "SFN317": Code(
        EXIT_INPUT,
        "the events of a recording are not in the order of time",
        "Frames are cut from events in their order, and a recording whose time runs backwards was damaged, put "
        "together wrongly, or its clock ran over. It is not sorted silently: sort it where you know that only "
        "neighbours changed places, else record or convert it again.",
    ),
    "SFN318": Code(
        EXIT_INPUT,
        "a recording holds no event",
        "There is nothing to show the network. Take the recording out of the data; where all are empty, the camera or "
        "the conversion failed.",
    ),
    "SFN319": Code(
        EXIT_INPUT,
        "an image cannot be prepared",
        "Images (--calib, --data: a folder or a file) are read with Pillow, resized (--resize), cut to the middle "
        "(--crop), multiplied by --scale and normalised by --mean and --std, for a model with one input of 1, 3 or 4 "
        "channels (--layout). What compile did is in manifest.json; eval, run, verify and bisect do the same. "
        "The message names the image or the option that does not fit.",
    ),
    "SFN320": Code(
        EXIT_INPUT,
        "your function or your batches failed",
        "Data may be `package.module:function` or `file.py:function`, and in Python anything that gives batches. Here "
        "the code raised an error, which the message quotes, or gave no batch. A batch is an array of samples, a "
        "tuple of the model's inputs in order with labels behind them, or a dict of arrays by name.",
    ),
    "SFN321": Code(
        EXIT_INPUT,
        "the answers cannot be judged as this task",
        "`sfnc eval --task` judges answers as classes, boxes, masks or real numbers, told from outputs and labels "
        "where nothing is said. Here the outputs do not have that form, the labels (an array, COCO's json, a folder "
        "of masks) do not fit, or your own function failed. The message says which, and how to say it: `--boxes`, "
        "`--labels`, `--task module:function`.",
    ),
    "SFN322": Code(
        EXIT_INPUT,
        "the torch module cannot be exported",
        "`sfn_compile.compile` exports a torch.nn.Module with torch's own exporter (`torch.onnx.export(..., "
        "dynamo=True)`) and needs an `example` of its inputs. The message quotes torch. First the batch is left free; "
        "where torch cannot do that, it is the example's.",
    ),
    "SFN313": Code(
        EXIT_INPUT,
        "compressed data that unfolds to gigabytes",
        "A compressed array of the file would take more than 1 GiB of memory and 64 times its size in the file, which "
        "no measured data does: it is damaged, made to fill the memory, or nearly empty. Nothing of it was read. Take "
        "some samples (`--samples 512`), which are picked as the file passes by, or save the array uncompressed "
        "(np.savez), from where it is read as it is needed.",
    ),
    # -- mapping -------------------------------------------------------------------------------------------------
    "SFN401": Code(
        EXIT_TARGET,
        "an accumulator does not fit",
        "The range proof found an accumulator that some input could drive past the allowed bits even with the smallest "
        "threshold. Lower --weight-bits or --levels, or split the layer.",
    ),
    "SFN402": Code(
        EXIT_TARGET,
        "the network does not fit the target",
        "The target's limits are exceeded or it cannot express a layer. The message names the layer and the limit.",
    ),
    "SFN403": Code(
        EXIT_TARGET,
        "the target's files would be too large",
        "The predicted size of what the target writes passed its limit: the default form of NIR, for example, repeats "
        "every neuron once per level so that stock readers run it exactly. The message names only what makes this "
        "network fit: other forms were tried, fewer --levels were estimated.",
    ),
    "SFN404": Code(
        EXIT_OK,
        "many values lie beyond the last code",
        "Of this population more real values lie more than half a step past the last code than a good step leaves "
        "there; they are cut off. Choose another step: `--site NAME:method=minmax`, or `--site NAME:stretch=1.5` for "
        "one that is larger by half; or calibrate on more samples.",
        severity="warning",
    ),
    "SFN405": Code(
        EXIT_OK,
        "many channels never fire",
        "More than half of the channels of this population never left 0 during calibration. In the network itself they "
        "may be dead; if not, calibrate on more samples, or on samples of every kind.",
        severity="warning",
    ),
    "SFN406": Code(
        EXIT_OK,
        "most codes are never used",
        "More than half of the codes of this population never occurred on the measured samples, the upper half of the "
        "range among them: its step is too large. "
        "Use a smaller one (`--site NAME:stretch=0.5`), another `--site NAME:method=...`, or fewer levels.",
        severity="warning",
    ),
    "SFN407": Code(
        EXIT_OK,
        "the spiking network answers unlike the float network",
        "From 128 calibration samples on a tenth is kept aside, at most 256: neither calibrated on nor learnt from. On "
        "these an output of the finished network is bad: of a row of scores fewer than 95 % of the samples have the "
        "same largest one (and 3 samples or more differ) or the signal to noise about the mean is below 6 dB; of other "
        "numbers it is below 15 dB. The message names the next step: `sfnc bisect` finds the layer and the option to "
        "change, or --levels gives more levels. No accuracy is known from this; `sfnc eval` measures it.",
        severity="warning",
    ),
    "SFN409": Code(
        EXIT_INPUT,
        "the description of a chip is wrong",
        "A chip is a TOML file: cores, memories, limits, times and energies, each number with its source and how far "
        "it is to be trusted. The message names the key and what is needed there; `docs/chips.md` shows a whole file.",
    ),
    "SFN410": Code(
        EXIT_TARGET,
        "the network is too large for the chip",
        "Even with the fewest cores and the smallest neuron the network does not fit: a part of a layer that cannot be "
        "cut further passes a core's memory, a value has to wait longer than a connection can, or all layers together "
        "need more cores than the board has. The message gives the value, the limit and what makes it smaller.",
    ),
    "SFN411": Code(
        EXIT_TARGET,
        "no core is known to compute a layer",
        "For max pools, products of two values, softmax and normalisations no program of the chip's cores is known. "
        "`--host-work` counts them as work of the processors beside the cores, and says so; a network without them is "
        "trained with strided convolutions or average pools and ReLU.",
    ),
    "SFN412": Code(
        EXIT_TARGET,
        "an integer is wider than the chip's",
        "A weight, a sum or a code needs more bits than the chip has. The message names the option that makes it "
        "narrower (--weight-bits, --acc-bits, --levels, --input-levels).",
    ),
    "SFN413": Code(
        EXIT_OK,
        "the answer rests on what is not public",
        "The network fits as far as known. What the message names is not published, was never printed, or belongs to "
        "another chip: the neuron's program, the memory of such a connection, delays. `sfnc fit --json` has every "
        "number's source.",
        severity="warning",
    ),
    # -- proofs and artifacts ------------------------------------------------------------------------------------
    "SFN501": Code(
        EXIT_CHECK_FAILED,
        "a target computed different integers",
        "The emitted files do not compute what the simulator computes. `proof.json` names the first layer and element "
        "that differ. If you did not edit the files, please report this.",
    ),
    "SFN502": Code(
        EXIT_CHECK_FAILED,
        "a gate failed",
        "A number that was measured is beyond the limit that a gate asks for: --max-drop, --min-accuracy, "
        "--min-agreement, --min-sqnr, --min-map, --min-iou or --max-rmse. The message has both. Try more --levels, "
        "more calibration data, another --method, or --search; `sfnc bisect` names the layer to begin with.",
    ),
    "SFN503": Code(
        EXIT_INPUT,
        "the build folder cannot be used",
        "The folder is not an sfnc build, was written by another format version, or a file in it was changed: its "
        "sha256 no longer equals the one in manifest.json. Compile again. Where compile says it of -o: the build there "
        "holds files that sfnc has not written, or not like that; move them away, or give --force, which keeps them.",
    ),
    "SFN504": Code(
        EXIT_CHECK_FAILED,
        "the spiking network leaves the float model",
        "`sfnc bisect` found that the outputs are further from the float model's than its limit (--limit, in decibels "
        "of signal to noise), and the first layer whose integers take them there. The message says what its error is "
        "made of (levels, step, saturation, weights, dead channels, or data unlike the calibration data) and which "
        "option to change.",
    ),
    "SFN505": Code(
        EXIT_INPUT,
        "the float network behind the build cannot be made again",
        "`sfnc bisect` reads the model of the build anew and needs every layer of the network in it. Here they differ, "
        "since another version of sfnc wrote the build, or model.onnx in it was changed. Compile again.",
    ),
    "SFN506": Code(
        EXIT_CHECK_FAILED,
        "the build is not what compile wrote",
        "`sfnc verify` found a sealed file (program, model, golden integers, scales, report.json, a file of a target, "
        "the manifest) that was changed or is missing, or a file that compile did not write in the folder of a target, "
        "where a loader or an interpreter would find it. What such a build computes proves nothing of the one that was "
        "compiled. Move your own files out of the folders of the targets; otherwise compile again.",
    ),
    "SFN507": Code(
        EXIT_CHECK_FAILED,
        "nothing was compared",
        "A proof needs a target, a sample and the integers of every layer. Here one of them was missing: no target was "
        "built or asked for, the data held no sample, or a target or a reader reported no integers. Nothing different "
        "was found because nothing was looked at, so this is no success.",
    ),
    "SFN509": Code(
        EXIT_INPUT,
        "a gate cannot be judged",
        "A gate asks for a number that was not measured: accuracy without labels, agreement of an output that is no "
        "row of scores, the average precision of something else than a detector. A gate never passes for lack of a "
        "number. Give the data that it needs, or a gate that fits the task.",
    ),
    "SFN510": Code(
        EXIT_CHECK_FAILED,
        "two builds are different networks",
        "`sfnc diff A B --fail-on-change` found that the builds differ in the model, in the integers of a layer, in "
        "what the host computes, or in a file of a target. What differs only in options, versions or reports is no "
        "change.",
    ),
    **CODES_OF_USE,
}
