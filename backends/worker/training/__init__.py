"""Makes the tiny HiDream models that ship in ``backends/worker/models`` (see MODEL_CARD.md there).

``python -m backends.worker.training --out training-runs/tiny`` goes from nothing to the shipped files.
The bot never imports this package, and the worker needs none of it: it loads the folders with diffusers alone.

What a loader has to know about them:

* ``tiny-i1`` is a whole pipeline: ``HiDreamImagePipeline.from_pretrained(folder, torch_dtype=torch.float32)``;
  without the dtype the encoders stay in half precision, which is slow on a CPU.
* ``pipeline.default_sample_size = 16`` (``transformer.config.max_resolution[0]``) must be set after loading:
  the stock pipeline rescales every request to ``(default_sample_size * 8)`` squared pixels of area, and its
  hard-coded 128 would turn 128x128 into 1024x1024. The native size is 128x128.
* ``tiny-e1`` is E1.1's part: only ``transformer/``; the other components are tiny-i1's. Its ``max_resolution`` is
  (16, 32), so that ``max_seq`` is already that of noisy latents (left) joined with source latents (right); the
  instruction is passed as it is typed.
* Schedules: Euler (as saved, shift 3) 28 steps, guidance 0; Dev = FlowMatchLCM shift 6, 28 steps, guidance 0;
  Fast = FlowMatchLCM shift 3, 16 steps, guidance 0; Full = UniPC shift 3, 50 steps, guidance 5.
"""
