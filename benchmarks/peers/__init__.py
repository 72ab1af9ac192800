"""The programs that the speed benchmark compares, each as a worker."""
