"""Scenes into frames, frames into a film."""

from farm.workloads.render.povray import plan_render

__all__ = ["plan_render"]
