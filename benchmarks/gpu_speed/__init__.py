"""How fast HiDream-I1 denoises: stock diffusers and ours, side by side in one process.

    python -m benchmarks.gpu_speed [--out FILE] [--rounds N] [--steps N] [--seconds N] [--small]

On a GPU it builds the published transformer (17.1B parameters) with random bf16 weights: the shapes, the arithmetic
and the router's code are the real ones, what it paints is not, so nothing here speaks of quality. Without a GPU, or
with ``--small``, it does the same with a small configuration and says so; those seconds mean nothing, the errors do.

Each round times every version once, so that a machine that slows down slows all of them. Figures are medians with
the least and the most. After ``--seconds`` (six minutes) no version, round or task is begun any more, and what was left
out is said. The short table comes last; everything is kept as JSON, with the full table as text beside it.
"""
