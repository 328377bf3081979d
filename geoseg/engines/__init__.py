"""Where the blocks of a prediction are computed. An engine maps blocks to receipts; the results lie in the run."""
