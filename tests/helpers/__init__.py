"""What tests of several packages share: inputs made on the spot, plain second answers, and ways to call geoseg."""
