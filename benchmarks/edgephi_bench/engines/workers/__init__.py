"""Programs that hold a loaded model and measure it on request, each in a process of its own.

They are run by path in whatever environment has their runtime, so `serve.py` and the engines of peers import nothing of
this package.
"""
