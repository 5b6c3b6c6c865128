"""What computes: pipelines around diffusers' HiDreamImagePipeline. Everything here runs on one thread."""
