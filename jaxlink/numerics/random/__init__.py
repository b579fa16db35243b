"""Samplers: functions of a key, a shape, a dtype and parameters that return a draw."""

Shape = tuple[int, ...]
