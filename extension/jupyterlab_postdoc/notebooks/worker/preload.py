"""Imported by the fork server (launch.py) and by nothing else."""

from jupyterlab_postdoc.notebooks.worker import launch

launch.preload()
