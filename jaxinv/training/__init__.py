"""Training of networks: one loop for all, the data that they learn from, and the folders that they are kept in."""

from jaxinv.training.data import Conditions as Conditions
from jaxinv.training.folder import FolderError as FolderError
from jaxinv.training.keeper import Checkpoints as Checkpoints
from jaxinv.training.loop import Trained as Trained
from jaxinv.training.loop import TrainingError as TrainingError
from jaxinv.training.loop import train as train
from jaxinv.training.settings import Training as Training
