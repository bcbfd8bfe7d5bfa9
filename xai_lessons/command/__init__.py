"""The command line: xai-lessons lab, doctor, prefetch, kernels, train."""
