"""Faster denoising with the same weights, parts of it switched on by ``EASEL_LOCAL_SPEED``.

Diffusers' HiDream reads numbers back from the GPU in every one of its 48 blocks and once a step, so it can be
neither compiled whole nor kept busy. The modules here take the place of the parts that do, in a transformer that
stays diffusers' own: same names, same weights, same answer within rounding.
"""
