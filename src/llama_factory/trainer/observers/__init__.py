"""Those who listen to a run: the screen, three log files, TensorBoard, a picture. None of them can stop it."""

from __future__ import annotations

from llama_factory.trainer.observers.console import Console
from llama_factory.trainer.observers.diagnosis import Diagnosis
from llama_factory.trainer.observers.jsonl import JsonLines
from llama_factory.trainer.observers.plot import LossPlot
from llama_factory.trainer.observers.quiet import Quiet
from llama_factory.trainer.observers.tensorboard import TensorBoard
from llama_factory.trainer.observers.trainlog import TrainLog

__all__ = ["Console", "Diagnosis", "JsonLines", "LossPlot", "Quiet", "TensorBoard", "TrainLog"]
