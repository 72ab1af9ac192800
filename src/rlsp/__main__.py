from rlsp.cli import main

main()
