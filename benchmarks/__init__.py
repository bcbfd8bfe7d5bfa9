"""Speed of the methods beside other libraries'; `python -m benchmarks.speed`."""
