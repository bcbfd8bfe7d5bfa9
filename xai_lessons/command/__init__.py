"""The command line: xai-lessons lab, app, collect, doctor, prefetch, kernels, train."""
