//! Every interleaving of a small committee's vote, with the real ballots, tallies and record of sent sums.
