"""`python -m benchmarks` prints the table of speed."""

from benchmarks.speed import main

main()
