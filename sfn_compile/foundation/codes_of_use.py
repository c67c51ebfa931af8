"""The codes of networks in other formats, environment, usage, time, search and bugs: a part of :data:`.codes.CODES`."""

from __future__ import annotations

from .code import EXIT_BUG, EXIT_CHECK_FAILED, EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_OK, EXIT_TARGET, EXIT_USAGE, Code

CODES_OF_USE: dict[str, Code] = {
    # -- networks of other formats -------------------------------------------------------------------------------
    "SFN111": Code(
        EXIT_INPUT,
        "one time step cannot say the network",
        "A network of another format (.nir) has a neuron that leaks, a recurrence, a delay, or an unknown node. What "
        "it emits depends on when its inputs come, and in one step nothing has a when. `docs/nir.md`: what is read.",
    ),
    "SFN414": Code(
        EXIT_TARGET,
        "a network that was read would make other integers",
        "A `.nir` file of sfnc was compiled anew, and its outputs differ. Compile the model that it was made from.",
    ),
    # -- environment ---------------------------------------------------------------------------------------------
    "SFN601": Code(
        EXIT_ENVIRONMENT,
        "the target is not installed",
        "The back end needs a program or package that was not found. The message gives the command that installs it.",
    ),
    "SFN602": Code(
        EXIT_ENVIRONMENT,
        "nothing could be written",
        "The output folder cannot be created or the disk is full. The previous build, if any, is untouched.",
    ),
    "SFN603": Code(
        EXIT_ENVIRONMENT,
        "the target took too long or died",
        "The target's program was ended (time limit or a crash inside it); its own output is quoted.",
    ),
    "SFN604": Code(
        EXIT_USAGE,
        "unknown target",
        "No back end of that name is registered. `sfnc targets` lists those that are; others come as packages through "
        "the entry-point group `sfnc.backends`.",
    ),
    "SFN605": Code(
        EXIT_USAGE,
        "wrong usage",
        "There is no option of that name, or its value is not accepted; see `sfnc compile --help`.",
    ),
    "SFN606": Code(
        EXIT_ENVIRONMENT,
        "not enough memory",
        "The network or the data is larger than this machine's memory holds. Use fewer --samples, an input of smaller "
        "height and width, or a machine with more memory.",
    ),
    "SFN607": Code(
        EXIT_ENVIRONMENT,
        "the workers could not do it",
        "Worker processes ended again and again, or the cluster cannot be reached, has no workers, or runs another "
        "version of sfnc. `--cluster ADDRESS` needs dask (`pip install 'sfnc[cluster]'`) and a scheduler whose workers "
        "have sfnc installed. Without --workers and --cluster everything runs in one process.",
    ),
    # -- time ----------------------------------------------------------------------------------------------------
    "SFN608": Code(
        EXIT_TARGET,
        "a layer cannot run over time like that",
        "The neuron that was asked for cannot count what this layer's ladder says: spikes that are never taken back "
        "need codes 0, 1, 2, ... on evenly spaced thresholds, and steps enough for the highest. `--neuron signed` "
        "takes every layer; the message names the layer and the nearest change.",
    ),
    "SFN609": Code(
        EXIT_INPUT,
        "the frames do not fit the timesteps",
        "With `--input-coding frames` each sample is (T, ...): one frame per timestep, of the shape that the model "
        "takes, which is given their sum. Bin a recording into as many frames as the network has timesteps.",
    ),
    "SFN610": Code(
        EXIT_TARGET,
        "the target cannot run over time",
        "The back end does not say that it computes several timesteps (`clocked` among its capabilities), or not for "
        "this network. Leave the target out, or compile for one timestep, which every target has.",
    ),
    "SFN611": Code(
        EXIT_CHECK_FAILED,
        "the counts over time are not the codes of one timestep",
        "`sfnc verify OUT --against OTHER` compared what the spikes of every neuron add up to with the integers of the "
        "other build. Where spikes can be taken back, more `--settle` makes them equal; `--settle proved` does so for "
        "every input. `--neuron if` and `burst` never promise it.",
    ),
    "SFN612": Code(
        EXIT_OK,
        "more accurate at one timestep",
        "On the evaluated samples the network over time agrees with the float network by a point less than the same "
        "network at one timestep, which also needs a fraction of the spikes. Use `--neuron signed`, more steps, or one "
        "timestep.",
        severity="warning",
    ),
    # -- optional packages --------------------------------------------------------------------------------------
    "SFN613": Code(
        EXIT_ENVIRONMENT,
        "an optional package is not installed",
        "What was asked for needs a package that sfnc does not install by itself: Pillow for images (`pip install "
        "'sfnc[images]'`), aedat for AEDAT4 (`pip install 'sfnc[events]'`), pycocotools for the average precision of "
        "boxes (`pip install 'sfnc[detection]'`), torch for torch modules.",
    ),
    # -- search --------------------------------------------------------------------------------------------------
    "SFN701": Code(
        EXIT_INPUT,
        "too few samples to search on",
        "A search calibrates on one half of the samples and measures every trial on the other, so it needs real "
        "samples, 64 at least, with --calib. 512 or more samples of the training data are a good number; never give "
        "test data, or the search learns it.",
    ),
    "SFN702": Code(
        EXIT_CHECK_FAILED,
        "no trial keeps the budget",
        "Every network that the search measured costs more than --budget allows. The message says which came nearest. "
        "Allow more, try more with --trials, or start from fewer --levels. With --search-state the trials were kept.",
    ),
    "SFN703": Code(
        EXIT_USAGE,
        "the search state is of another search",
        "A file with measured trials is taken up only by the search that wrote it: the same model, data, options, "
        "strategy, objective, budget and version of sfnc. Delete it to start anew, or name another file with "
        "--search-state.",
    ),
    "SFN704": Code(
        EXIT_ENVIRONMENT,
        "optuna is not installed",
        "--search tpe is optuna's sampler. Install it (`pip install 'sfnc[search]'`), or use --search grid, which "
        "needs nothing.",
    ),
    "SFN705": Code(
        EXIT_OK,
        "a grid was searched instead of tpe",
        "A bare --search means tpe, which needs optuna; without it a fixed grid is searched. Install optuna with "
        "`pip install 'sfnc[search]'`, or write --search grid.",
        severity="warning",
    ),
    # -- our own bugs --------------------------------------------------------------------------------------------
    "SFN901": Code(
        EXIT_BUG,
        "internal error",
        "This is a bug in sfnc, not in your model. Please send the model (or its `sfnc check --json` output) and the "
        "traceback.",
    ),
}
