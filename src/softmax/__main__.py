"""Lets `python -m softmax` do what the command `softmax` does."""

from softmax.cli import main

if __name__ == "__main__":
    main()
