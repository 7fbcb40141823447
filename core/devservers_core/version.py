"""The version of every distribution and image of the project.

pyproject.toml reads it from here.
"""

__version__ = "0.1.0"
