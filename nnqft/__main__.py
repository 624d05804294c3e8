"""``python -m nnqft`` is the command `nnqft`."""

from nnqft.cli.main import main

if __name__ == "__main__":
    main()
