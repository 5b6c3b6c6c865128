"""``python -m backends.worker.training``: trains, exports and judges the tiny models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import assert_never

import torch

from backends.worker.training.judge import judge
from backends.worker.training.runs import Machine
from backends.worker.training.stages import DEFAULT_PLAN, MissingStage, Stage, Workshop, singles_only, with_length
from backends.worker.training.suggestions import write_suggestions

MODELS = Path(__file__).resolve().parent.parent / "models"


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backends.worker.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("training-runs/tiny"), help="folder of checkpoints and logs")
    parser.add_argument("--models", type=Path, default=MODELS, help="where export writes and judge reads")
    parser.add_argument("--stages", type=Stage, nargs="+", default=list(Stage), help="default: all, in order")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all cores)")
    parser.add_argument("--steps", type=int, default=None, help="length of the one training stage named")
    parser.add_argument("--minutes", type=float, default=None, help="ends trunk, i1 or e1 after so much training time")
    parser.add_argument("--singles", action="store_true", help="train on scenes of one item only: a fast start")
    parser.add_argument("--count", type=int, default=200, help="pictures a line of the judge's table")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Runs the stages asked for, in order."""
    if options.threads:
        torch.set_num_threads(options.threads)
    plan = DEFAULT_PLAN
    if options.steps is not None or options.minutes is not None:
        if len(options.stages) != 1:
            raise SystemExit("--steps and --minutes go with exactly one stage in --stages")
        plan = with_length(plan, options.stages[0], options.steps, options.minutes)
    if options.singles:
        plan = singles_only(plan)
    workshop = Workshop(options.out, Machine.detect(options.device), plan)
    for stage in (stage for stage in Stage if stage in options.stages):
        match stage:
            case Stage.TOKENIZERS:
                workshop.tokenizers()
            case Stage.VAE:
                workshop.train_vae()
            case Stage.TRUNK:
                workshop.train_trunk()
            case Stage.I1:
                workshop.train_i1()
            case Stage.E1:
                workshop.train_e1()
            case Stage.DECODER:
                workshop.sharpen_decoder()
            case Stage.EXPORT:
                workshop.export(options.models)
            case Stage.SUGGEST:
                write_suggestions(options.models)
            case Stage.JUDGE:
                judge(options.models, options.count)
            case _:
                assert_never(stage)


if __name__ == "__main__":
    try:
        run(parse(sys.argv[1:]))
    except MissingStage as missing:
        raise SystemExit(str(missing)) from None
