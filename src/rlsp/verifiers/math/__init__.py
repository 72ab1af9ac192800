"""Final answers in mathematics: the marked answer is extracted, read by its shape, and compared with the reference."""
